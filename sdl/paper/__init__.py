"""The paper's figures and numbers, reproduced with this project's solvers, on the twin or on a log.

The paper: Kitchin et al., *Digital Discovery* 2025, 10.1039/D5DD00137D. `pairs` has the readings, `published` the
paper's numbers, `answers` those of the solvers, `appendix` the paper's sections 5.3 to 5.5, `figures` the drawings,
`facts` all values on the page, and the template `paper.html.j2` its text. Text, code and pictures are our own.
"""
