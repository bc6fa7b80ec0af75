#!/bin/sh
# 101: "action forbidden by policy". A package must not start its service inside an image build.
exit 101
