"""The drawing engine of synthetic crowds.

`scene` draws an image with its annotations. It poses bodies in 3D (`postures`, `body`), projects
them (`camera`), dresses them (`clothes`), turns them into filled polygons (`pieces`, `figure`,
`shapes`), adds `props` and a `backdrop`, and finds out which joints can be seen (`visibility`).
`motion` lets people walk.
"""
