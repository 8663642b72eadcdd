// The whole seam as one unit of translation.
#include "seam.cpp"
#include "graph.cpp"
#include "cuda.cpp"
#include "packed.cpp"
#include "threads.cpp"
