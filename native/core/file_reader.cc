#include "core/file_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace verdant {
namespace {

constexpr uint64_t kMostAtOnce = 1 << 26;  // bytes of one system call

struct Seen {
  uint64_t size = 0, inode = 0;
  int64_t mtime_ns = 0;
};

#if defined(_WIN32)

intptr_t open_file(const std::string& path) {
  const int length = MultiByteToWideChar(CP_UTF8, 0, path.c_str(), -1, nullptr, 0);
  std::wstring wide(static_cast<size_t>(length), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, path.c_str(), -1, wide.data(), length);
  const DWORD share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
  return reinterpret_cast<intptr_t>(
      CreateFileW(wide.c_str(), GENERIC_READ, share, nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr));
}
void close_file(intptr_t handle) { CloseHandle(reinterpret_cast<HANDLE>(handle)); }
std::string last_error() { return "system error " + std::to_string(GetLastError()); }
bool look(intptr_t handle, Seen& seen) {
  BY_HANDLE_FILE_INFORMATION info;
  if (!GetFileInformationByHandle(reinterpret_cast<HANDLE>(handle), &info)) return false;
  seen.size = static_cast<uint64_t>(info.nFileSizeHigh) << 32 | info.nFileSizeLow;
  seen.inode = static_cast<uint64_t>(info.nFileIndexHigh) << 32 | info.nFileIndexLow;
  const int64_t ticks =
      static_cast<int64_t>(info.ftLastWriteTime.dwHighDateTime) << 32 | info.ftLastWriteTime.dwLowDateTime;
  seen.mtime_ns = (ticks - 116444736000000000) * 100;  // 100 ns since 1601
  return true;
}
int64_t read_some(intptr_t handle, uint64_t offset, uint64_t count, uint8_t* out) {
  OVERLAPPED at{};
  at.Offset = static_cast<DWORD>(offset);
  at.OffsetHigh = static_cast<DWORD>(offset >> 32);
  DWORD got = 0;
  if (!ReadFile(reinterpret_cast<HANDLE>(handle), out, static_cast<DWORD>(count), &got, &at))
    return GetLastError() == ERROR_HANDLE_EOF ? 0 : -1;
  return got;
}

#else

intptr_t open_file(const std::string& path) { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }
void close_file(intptr_t handle) { ::close(static_cast<int>(handle)); }
std::string last_error() { return std::strerror(errno); }
bool look(intptr_t handle, Seen& seen) {
  struct stat s;
  if (::fstat(static_cast<int>(handle), &s) != 0) return false;
  seen.size = static_cast<uint64_t>(s.st_size);
  seen.inode = static_cast<uint64_t>(s.st_ino);
#if defined(__APPLE__)
  seen.mtime_ns = static_cast<int64_t>(s.st_mtimespec.tv_sec) * 1000000000 + s.st_mtimespec.tv_nsec;
#else
  seen.mtime_ns = static_cast<int64_t>(s.st_mtim.tv_sec) * 1000000000 + s.st_mtim.tv_nsec;
#endif
  return true;
}
int64_t read_some(intptr_t handle, uint64_t offset, uint64_t count, uint8_t* out) {
  for (;;) {
    const ssize_t got = ::pread(static_cast<int>(handle), out, count, static_cast<off_t>(offset));
    if (got >= 0 || errno != EINTR) return got;
  }
}

#endif

}  // namespace

FileReader::FileReader(std::shared_ptr<const FileIdentity> identity)
    : identity_(std::move(identity)), handle_(open_file(identity_->path)) {
  if (handle_ == -1)
    throw Error("ERR_FILE_CHANGED",
                identity_->path + ": cannot be opened any more: " + last_error() + "; load it again");
  try {
    check_identity();
  } catch (...) {
    close_file(handle_);
    throw;
  }
}

FileReader::~FileReader() { close_file(handle_); }

void FileReader::check_identity() const {
  Seen seen;
  if (!look(handle_, seen)) throw Error("ERR_FILE_CHANGED", identity_->path + ": cannot be examined: " + last_error());
  std::string what;
  if (seen.size != identity_->size)
    what = "size; expected " + std::to_string(identity_->size) + " bytes; found " + std::to_string(seen.size);
  else if (identity_->inode != 0 && seen.inode != identity_->inode)
    what = "inode; expected " + std::to_string(identity_->inode) + "; found " + std::to_string(seen.inode);
  else if (seen.mtime_ns != identity_->mtime_ns)
    what = "time of change; expected " + std::to_string(identity_->mtime_ns) + " ns; found " +
           std::to_string(seen.mtime_ns);
  if (!what.empty())
    throw Error("ERR_FILE_CHANGED",
                identity_->path + ": changed after its header was read: other " + what + ". Load it again");
}

void FileReader::read(uint64_t offset, uint64_t count, uint8_t* out, const std::string& tensor) const {
  const std::string where = identity_->path + ": tensor " + tensor + ": ";
  for (uint64_t done = 0; done < count;) {
    const int64_t got = read_some(handle_, offset + done, std::min(count - done, kMostAtOnce), out + done);
    if (got < 0) throw Error("ERR_FILE_CORRUPT", where + "cannot be read: " + last_error());
    if (got == 0) {
      check_identity();
      throw Error("ERR_FILE_CORRUPT", where + "ends too early; expected " + std::to_string(count) +
                                          " bytes at offset " + std::to_string(offset) + "; found " +
                                          std::to_string(done));
    }
    done += static_cast<uint64_t>(got);
  }
  check_identity();
}

}  // namespace verdant
