// What the files of the seam share.
#pragma once

#include "seam.h"

#include <cstring>
#include <exception>

#include <torch/csrc/jit/api/module.h>

struct TlModule {
  torch::jit::Module module;
};

// Runs `work`; what it throws becomes a text.
template <class Work> char *protect(Work work) {
  try {
    work();
    return nullptr;
  } catch (const c10::Error &error) {
    return strdup(error.what_without_backtrace());
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("unknown error");
  }
}
