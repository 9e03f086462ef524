"""The checks of `sdl instrument check`.

readings   what is measured and found: visits, survey, findings
survey     takes the readings: from off to the middle, then along one input at a time
findings   what the readings show
"""
