"""Files of other tools that hold arrays by name: safetensors, Zarr and MATLAB. Their libraries are imported late."""
