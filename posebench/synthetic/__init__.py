"""Drawing of synthetic crowds: postures, bodies, clothes, figures, backdrops, whole scenes."""
