#include "region.h"

#define ISA baseline
#include "vec_plain.h"
#include "isa.h"
