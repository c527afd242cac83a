"""How packages are made; scripts/package is the command.

| file | duty |
|---|---|
| tree.py | what a package installs |
| deb.py, rpm.py, tarball.py | one kind of package each, from that tree |
| licences.py | what is linked in: copyright file and SBOM |
| debian/, rpm/ | maintainer scripts; the spec file |
| selinux/, apparmor/ | policy that lets a confined server load the library |
| docker/ | a Dockerfile with a gated Dovecot as its example |
"""
