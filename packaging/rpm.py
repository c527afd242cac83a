def packages(binaries, out):
    return []
