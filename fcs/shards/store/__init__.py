"""Stores: folders and object stores behind one interface, in which a file appears whole, under its name, or not at all.

``base`` is the interface, ``local`` a folder, ``remote`` an object store reached by fsspec; ``open_store`` chooses one
by its URL. ``atomic_files`` writes single files in folders, ``tar_writer`` writes all tars of the package.
"""
