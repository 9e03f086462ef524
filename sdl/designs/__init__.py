"""Designs of experiments: settings that are measured before a solver can propose.

base         the contract
classical    factorial, Box-Behnken, central composite, D-optimal
filling      axis points, listed points, Latin hypercube, Sobol, farthest
adaptive     where the proposal of a solver would be most uncertain; its choice is in uncertainty
plans        the points of these designs as fractions of the ranges
placed       a design in the space of a campaign
inside       designs in a space with choices or constraints
"""
