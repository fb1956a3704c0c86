// Large zeroed memory straight from the system: committed when touched, on huge pages where that is possible.
#pragma once
#include <cstdint>
#include <utility>

namespace verdant {

class Pages {
 public:
  Pages() = default;
  explicit Pages(int64_t bytes);  // throws ERR_OUT_OF_MEMORY naming the size
  ~Pages();
  Pages(Pages&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Pages& operator=(Pages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  // Makes room for at least `bytes`; the content is lost when it grows.
  void reserve(int64_t bytes);

 private:
  uint8_t* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace verdant
