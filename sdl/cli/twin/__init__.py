"""The commands `sdl twin …`."""
