"""This package has one program per RPC system, both ends of it, all driven alike."""
