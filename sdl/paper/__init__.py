"""The paper's figures and numbers again, with this project's solvers, on the twin or on anybody's log.

The paper: Kitchin et al., *Digital Discovery* 2025, 10.1039/D5DD00137D. `pairs` has what is learnt from,
`published` what the paper prints, `work` asks the solvers, `beside` is the appendix, `figures` draws, `page` writes.
Sentences, code and pictures are our own; from the paper are its questions and its numbers.
"""
