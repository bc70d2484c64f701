/* halyard/halyard.h: all of the stable interface. */
#ifndef HALYARD_HALYARD_H
#define HALYARD_HALYARD_H

#include "base.h"
#include "chat.h"
#include "gguf.h"
#include "model.h"
#include "qmatmul.h"
#include "quantize.h"
#include "sampler.h"
#include "session.h"
#include "tokenizer.h"
#include "types.h"

#endif
