#pragma once
#include <stdexcept>
#include <string>

namespace verdant {

// The one exception of native code; `code` is one of lib/errors.ts.
class Error : public std::runtime_error {
 public:
  Error(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}
  const char* code() const { return code_; }

 private:
  const char* code_;  // static storage
};

}  // namespace verdant
