raise RuntimeError("broken at load")
