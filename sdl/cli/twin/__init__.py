"""The commands `sdl twin …` and `sdl forecast`."""
