"""What instruments made of LEDs and a light sensor have in common: when the lamp is off, and how a reply proves it."""
