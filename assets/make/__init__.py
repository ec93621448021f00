"""How the bundled starter model and sample datasets are made.

`python -m assets.make all`, run from the project's root, writes `assets/starter/` and
`assets/samples/` again from seeds. Nothing here is needed to use the studio, except that tests and
benchmarks import `tasks` and `pig_latin` to score replies.
"""
