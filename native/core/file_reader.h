// Reads ranges of one file that must stay what it was when its header was read.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "core/weight_expr.h"

namespace verdant {

class FileReader {
 public:
  // Opens and compares size, inode and time of change with `identity` (an inode of 0 is unknown). Throws
  // ERR_FILE_CHANGED when they differ or the file is gone.
  explicit FileReader(std::shared_ptr<const FileIdentity> identity);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  // `tensor` is for messages. ERR_FILE_CORRUPT when the range ends beyond the file, ERR_FILE_CHANGED when the file is
  // no longer the same after the read.
  void read(uint64_t offset, uint64_t count, uint8_t* out, const std::string& tensor) const;

 private:
  void check_identity() const;

  std::shared_ptr<const FileIdentity> identity_;
  intptr_t handle_ = -1;
};

}  // namespace verdant
