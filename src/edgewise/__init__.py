"""edgewise."""
