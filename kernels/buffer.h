// Memory with the function that gives it back.
#pragma once

#include <cstddef>
#include <utility>

namespace nacelle::kernels {

// Memory on a backend's device, aligned to 64 bytes, given back by the destructor.
class Buffer {
 public:
  Buffer() = default;
  Buffer(void* data, std::size_t size, void (*release)(void*, std::size_t))
      : data_(data), size_(size), release_(release) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data_ != nullptr) release_(data_, size_);
  }

  template <typename T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(data_);
  }
  [[nodiscard]] std::size_t size() const { return size_; }  // bytes

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(release_, other.release_);
  }
  void* data_ = nullptr;
  std::size_t size_ = 0;
  void (*release_)(void*, std::size_t) = nullptr;
};

}  // namespace nacelle::kernels
