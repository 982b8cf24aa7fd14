"""ED-Pose: explicit box detection for end-to-end pose estimation (Yang et al., ICLR 2023)."""
