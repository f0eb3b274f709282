#include "tests/sidecar/cache/crash_files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sidecar/base/bytes.h"
#include "sidecar/base/check.h"

namespace nacelle::cache {
namespace {

constexpr std::size_t kBuriedMax = 8;

std::uint64_t below(std::mt19937_64& random, std::uint64_t bound) { return random() % bound; }

}  // namespace

// ---- the power cut ----

void CrashFiles::apply(const Change& change, Bytes& bytes) {
  if (change.resizes) return bytes.resize(change.at);
  bytes.resize(std::max<std::size_t>(bytes.size(), change.at + change.bytes.size()));
  base::copy_bytes(bytes.data() + change.at, change.bytes.data(), change.bytes.size());
}

void CrashFiles::apply(const NameChange& change, Names& names) {
  if (!change.from.empty()) names.erase(change.from);
  if (!change.to.empty()) names[change.to] = change.inode;
}

CrashFiles::Bytes CrashFiles::after_power_cut(const Inode& inode, std::mt19937_64& random,
                                              std::size_t sector_bytes) const {
  if (inode.unsynced.empty()) return inode.durable;
  std::vector<Bytes> versions{inode.durable};
  for (const Change& change : inode.unsynced) {
    versions.push_back(versions.back());
    apply(change, versions.back());
  }
  const std::uint64_t style = below(random, 6);
  if (style == 0) return versions.front();
  if (style == 1) return versions.back();
  // Any of the sizes that it had; and each sector that was written, from any moment.
  Bytes out(versions[below(random, versions.size())].size());
  const bool in_order = style == 2;
  const bool garbage = style >= 4;
  const std::size_t cut = below(random, versions.size());
  for (std::size_t at = 0; at < out.size(); at += sector_bytes) {
    const std::size_t size = std::min(sector_bytes, out.size() - at);
    const auto copy = [&](const Bytes& from) {
      if (at < from.size()) {
        base::copy_bytes(out.data() + at, from.data() + at, std::min(size, from.size() - at));
      }
    };
    const bool written =
        std::any_of(inode.unsynced.begin(), inode.unsynced.end(), [&](const Change& change) {
          return !change.resizes && change.at < at + size && change.at + change.bytes.size() > at;
        });
    if (!written) {
      copy(versions.back());
      if (versions.front().size() > at) copy(versions.front());
    } else if (garbage && below(random, 4) == 0) {
      switch (below(random, 3)) {
        case 0:
          break;  // zeros
        case 1:
          for (std::size_t i = 0; i < size; ++i) out[at + i] = static_cast<std::byte>(random());
          break;
        default:
          if (!buried_.empty()) copy(buried_[below(random, buried_.size())]);
      }
    } else if (in_order) {
      // Up to the cut all is there; the change at the cut is torn.
      copy(versions[cut > 0 && below(random, 2) == 0 ? cut - 1 : cut]);
    } else {
      copy(versions[below(random, versions.size())]);
    }
  }
  return out;
}

CrashFiles::Names CrashFiles::names_after_power_cut(std::mt19937_64& random) const {
  Names names = durable_names_;
  const std::uint64_t style = below(random, 3);
  const std::size_t cut = below(random, unsynced_names_.size() + 1);
  for (std::size_t i = 0; i < unsynced_names_.size(); ++i) {
    const bool kept = style == 0 ? i < cut : style == 1 ? below(random, 2) == 0 : true;
    if (kept) apply(unsynced_names_[i], names);
  }
  return names;
}

std::unique_ptr<CrashFiles> CrashFiles::crash(std::uint64_t seed, std::size_t sector_bytes) const {
  std::mt19937_64 random(seed);
  auto after = std::make_unique<CrashFiles>(random());
  after->buried_ = buried_;
  for (const auto& [path, inode] : names_after_power_cut(random)) {
    after->put(path, after_power_cut(*inode, random, sector_bytes));
  }
  return after;
}

std::unique_ptr<CrashFiles> CrashFiles::reopened(std::uint64_t seed) const {
  auto after = std::make_unique<CrashFiles>(seed);
  for (const auto& [path, inode] : names_) after->put(path, inode->now);
  return after;
}

// ---- what is there ----

std::vector<std::string> CrashFiles::paths() const {
  std::vector<std::string> paths;
  for (const auto& [path, inode] : names_) paths.push_back(path);
  return paths;
}

const CrashFiles::Bytes& CrashFiles::content(const std::string& path) const {
  const auto at = names_.find(path);
  CHECK(at != names_.end());
  return at->second->now;
}

void CrashFiles::put(const std::string& path, Bytes content) {
  auto inode = std::make_shared<Inode>();
  inode->durable = content;
  inode->now = std::move(content);
  names_[path] = inode;
  durable_names_[path] = inode;
}

std::uint64_t CrashFiles::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [path, inode] : names_) sum += inode->now.size();
  return sum;
}

// ---- the calls ----

int CrashFiles::before(FileCall call) {
  ++calls_;
  return hook_ ? hook_(call) : 0;
}

int CrashFiles::open(const std::string& path, OpenFor how) {
  if (const int error = before(FileCall::kOpen); error < 0) return error;
  auto at = names_.find(path);
  const bool creates = how == OpenFor::kCreating || how == OpenFor::kLocking;
  if (at == names_.end() && !creates) return -ENOENT;
  if (at != names_.end() && how == OpenFor::kCreating) return -EEXIST;
  if (at == names_.end()) {
    at = names_.emplace(path, std::make_shared<Inode>()).first;
    unsynced_names_.push_back({"", path, at->second});
  }
  open_[next_file_] = at->second;
  return next_file_++;
}

void CrashFiles::close(int file) {
  const auto at = open_.find(file);
  CHECK(at != open_.end());
  at->second->locked = false;
  open_.erase(at);
}

std::int64_t CrashFiles::size(int file) {
  if (const int error = before(FileCall::kSize); error < 0) return error;
  return static_cast<std::int64_t>(open_.at(file)->now.size());
}

std::int64_t CrashFiles::pread(int file, std::span<std::byte> into, std::uint64_t offset) {
  const int answer = before(FileCall::kPread);
  if (answer < 0) return answer;
  const Bytes& bytes = open_.at(file)->now;
  if (offset >= bytes.size()) return 0;
  std::size_t size = std::min<std::size_t>(into.size(), bytes.size() - offset);
  if (answer == kHalf && size > 1) size /= 2;
  base::copy_bytes(into.data(), bytes.data() + offset, size);
  return static_cast<std::int64_t>(size);
}

std::int64_t CrashFiles::pwrite(int file, std::span<const std::byte> bytes, std::uint64_t offset) {
  const int answer = before(FileCall::kPwrite);
  if (answer < 0 && answer != -ENOSPC && answer != -EIO) return answer;
  // A write that fails has often written something.
  const bool partial = answer == kHalf || answer < 0;
  const std::size_t size = partial && bytes.size() > 1 ? bytes.size() / 2 : bytes.size();
  Inode& inode = *open_.at(file);
  Change change{false, offset,
                Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size))};
  apply(change, inode.now);
  inode.unsynced.push_back(std::move(change));
  return answer < 0 ? answer : static_cast<std::int64_t>(size);
}

void CrashFiles::resize(Inode& inode, std::uint64_t size) {
  Change change{true, size, {}};
  apply(change, inode.now);
  inode.unsynced.push_back(std::move(change));
}

int CrashFiles::allocate(int file, std::uint64_t size) {
  if (const int error = before(FileCall::kAllocate); error < 0) return error;
  Inode& inode = *open_.at(file);
  if (size > inode.now.size()) resize(inode, size);
  return 0;
}

int CrashFiles::truncate(int file, std::uint64_t size) {
  if (const int error = before(FileCall::kTruncate); error < 0) return error;
  resize(*open_.at(file), size);
  return 0;
}

// As Linux does it: a sync that failed has forgotten what it could not write. Here a part of that
// reached the disk, and nobody will write the rest.
int CrashFiles::sync(int file) {
  const int error = before(FileCall::kSync);
  if (error == -EINTR) return error;
  Inode& inode = *open_.at(file);
  if (error < 0) {
    inode.durable = after_power_cut(inode, random_, 512);
    inode.unsynced.clear();
    return error;
  }
  inode.durable = inode.now;
  inode.unsynced.clear();
  return 0;
}

int CrashFiles::lock(int file) {
  if (const int error = before(FileCall::kLock); error < 0) return error;
  Inode& inode = *open_.at(file);
  if (inode.locked) return -EWOULDBLOCK;
  inode.locked = true;
  return 0;
}

int CrashFiles::rename(const std::string& from, const std::string& to) {
  if (const int error = before(FileCall::kRename); error < 0) return error;
  const auto at = names_.find(from);
  if (at == names_.end()) return -ENOENT;
  const NameChange change{from, to, at->second};
  apply(change, names_);
  unsynced_names_.push_back(change);
  return 0;
}

int CrashFiles::unlink(const std::string& path) {
  unlinked_ = path;
  if (const int error = before(FileCall::kUnlink); error < 0) return error;
  const auto at = names_.find(path);
  if (at == names_.end()) return -ENOENT;
  buried_.push_back(at->second->now);
  if (buried_.size() > kBuriedMax) buried_.erase(buried_.begin());
  names_.erase(at);
  unsynced_names_.push_back({path, "", nullptr});
  return 0;
}

int CrashFiles::make_directory(const std::string&) {
  return std::min(0, before(FileCall::kMakeDirectory));
}

int CrashFiles::sync_directory(const std::string&) {
  if (const int error = before(FileCall::kSyncDirectory); error < 0) return error;
  durable_names_ = names_;
  unsynced_names_.clear();
  return 0;
}

int CrashFiles::list(const std::string& path, std::size_t count_max,
                     std::vector<std::string>& names) {
  if (const int error = before(FileCall::kList); error < 0) return error;
  names.clear();
  const std::string prefix = path + "/";
  for (const auto& [name, inode] : names_) {
    if (name.starts_with(prefix)) names.push_back(name.substr(prefix.size()));
  }
  return names.size() > count_max ? -EOVERFLOW : 0;
}

int CrashFiles::random(std::span<std::byte> into) {
  if (const int error = before(FileCall::kRandom); error < 0) return error;
  for (std::byte& byte : into) byte = static_cast<std::byte>(random_());
  return 0;
}

}  // namespace nacelle::cache
