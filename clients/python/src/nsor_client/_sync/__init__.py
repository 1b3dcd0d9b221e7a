# Generated from _async/__init__.py by tools/gen_sync.py. Do not edit.
