"""Postures: ranges of joint angles, in degrees, for whole bodies, legs and arms.

With all angles zero a person stands upright with hanging arms.
"""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Leg:
    lift: Range  # thigh swung to the front
    knee: Range
    splay: Range = (1, 8)  # thigh swung outwards


@dataclass(frozen=True)
class Arm:
    lift: Range  # upper arm swung to the front
    spread: Range  # upper arm swung outwards
    swivel: Range  # about the upper arm; positive turns a forearm that points ahead outwards
    elbow: Range
    weight: int = 1  # relative frequency


@dataclass(frozen=True)
class Posture:
    weight: float  # relative frequency
    legs: tuple[Leg, Leg]  # left and right, swapped at random
    hinge: Range = (-4, 10)  # upper body bent to the front
    tumble: Range = (-3, 3)  # whole body pitched to the front: 90 lies on the belly
    roll: Range = (-4, 4)  # whole body tipped to its right
    air: Range = (0, 0)  # body heights above the ground
    seat: bool = False  # whether a stool is drawn below
    arms: tuple[str, ...] = ()  # the possible arm positions; empty: all


_STRAIGHT = Leg((-8, 10), (0, 12))
_SEATED = Leg((74, 96), (65, 105), (3, 18))
_LYING = Leg((-5, 45), (0, 70), (2, 14))
_ACROBATIC = Leg((-25, 45), (0, 60), (4, 35))

# Most people are upright, as in photographs; acrobatic postures are rare.
POSTURES = {
    "stand": Posture(12, (_STRAIGHT, _STRAIGHT)),
    "contrapposto": Posture(5, (_STRAIGHT, Leg((5, 22), (10, 40), (4, 18))), roll=(-6, 6)),
    "straddle": Posture(4, (Leg((-8, 10), (0, 12), (16, 32)),) * 2),
    "walk": Posture(12, (Leg((16, 36), (0, 15)), Leg((-30, -8), (8, 45))), hinge=(0, 10)),
    "run": Posture(
        4, (Leg((40, 78), (50, 105)), Leg((-38, -10), (20, 75))), hinge=(4, 22), air=(0, 0.07)
    ),
    "lunge": Posture(2, (Leg((45, 72), (45, 80)), Leg((-48, -25), (0, 25))), hinge=(-5, 25)),
    "one_leg": Posture(1.5, (_STRAIGHT, Leg((30, 100), (20, 110), (2, 40)))),
    "bend": Posture(1.5, (Leg((-5, 15), (0, 25)),) * 2, hinge=(40, 105)),
    "crouch": Posture(1.5, (Leg((88, 122), (112, 142), (6, 28)),) * 2, hinge=(10, 45)),
    "kneel": Posture(1, (Leg((78, 96), (82, 104)), Leg((-8, 12), (80, 108))), hinge=(-5, 25)),
    "sit": Posture(4, (_SEATED, _SEATED), hinge=(-10, 28), seat=True),
    "cross_legs": Posture(
        1, (_SEATED, Leg((92, 112), (40, 90), (-12, 2))), hinge=(-8, 18), seat=True
    ),
    "jump": Posture(1.5, (Leg((0, 60), (10, 95), (2, 30)),) * 2, roll=(-14, 14), air=(0.06, 0.22)),
    "topple": Posture(0.7, (_ACROBATIC, _STRAIGHT), roll=(-38, 38)),
    "lie_on_back": Posture(0.3, (_LYING, _LYING), tumble=(-96, -80)),
    "lie_on_belly": Posture(0.2, (_LYING, _LYING), tumble=(82, 96), hinge=(-25, 5)),
    "lie_on_side": Posture(0.3, (_LYING, _LYING), roll=(78, 98), hinge=(0, 30)),
    "handstand": Posture(0.15, (_ACROBATIC,) * 2, tumble=(165, 195), arms=("raised",)),
    "cartwheel": Posture(0.2, (_ACROBATIC,) * 2, roll=(95, 185), arms=("raised", "aside")),
}

ARMS = {
    "hang": Arm((-15, 15), (5, 18), (-25, 25), (4, 38), weight=4),
    "swing": Arm((-45, 50), (4, 16), (-20, 20), (10, 80), weight=4),
    "on_hip": Arm((-25, 0), (38, 55), (-95, -70), (85, 112)),
    "folded": Arm((25, 50), (2, 12), (-75, -50), (95, 120)),
    "phone": Arm((25, 55), (4, 20), (-35, -5), (105, 140)),
    "ahead": Arm((65, 105), (-8, 15), (-30, 30), (0, 40)),
    "aside": Arm((-10, 15), (70, 105), (-40, 40), (0, 45)),
    "wave": Arm((-10, 20), (65, 105), (65, 105), (50, 110)),
    "raised": Arm((-15, 15), (140, 172), (-40, 40), (0, 40)),
    "behind": Arm((-38, -18), (8, 22), (-70, -30), (25, 70)),
    "on_head": Arm((10, 40), (95, 130), (60, 110), (110, 145)),
}
