"""Learning curves: read from the logs of Caffe and of proto2torch, drawn into one picture. Needs no torch."""
