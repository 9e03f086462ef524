"""The commands `sdl lab …`."""
