"""What torch lacks: small modules and functions, written against torch alone.

A generated file carries the source of those it uses, so each piece stands by itself: it
names only torch, F, nn, math and other pieces of this folder. A buffer starts at zero,
because a module that is built without memory first gets its buffers zeroed.
"""
