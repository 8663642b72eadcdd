//! Where weights come from: hub, package, file; cache; safetensors and .pth readers.
