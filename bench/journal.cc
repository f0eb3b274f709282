// bench_journal: the result cache on disk. How fast a start has its entries back, and what writing
// them costs, beside the bare calls on files of the same size.
//
// The files are in the page cache, as after a restart of the process; after a restart of the
// machine the disk is the limit. NACELLE_BENCH_DIR names where they lie, else the temporary folder.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/harness.h"
#include "sidecar/base/check.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/log.h"
#include "sidecar/cache/crc32c.h"
#include "sidecar/cache/journal.h"
#include "sidecar/cache/journal_format.h"

namespace nacelle::bench {
namespace {

namespace fs = std::filesystem;
using cache::Entry;

constexpr std::size_t kHeadBytes = 16;
constexpr std::size_t kBodyBytes = 1536;  // 384 float32
constexpr std::size_t kBatch = 32;
constexpr double kGiga = 1e9;

shm::CacheKey key_of(std::uint64_t number) {
  shm::CacheKey key{};
  std::memcpy(key.bytes.data(), &number, sizeof number);
  return key;
}

class Folder {
 public:
  Folder() {
    const char* given = std::getenv("NACELLE_BENCH_DIR");
    std::string name =
        (given != nullptr ? fs::path(given) : fs::temp_directory_path()) / "nacelle-journal-XXXXXX";
    CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

cache::JournalOptions options_in(const std::string& directory, cache::Durability durability) {
  return {.directory = directory,
          .bytes_max = 8ULL << 30,
          .segment_bytes = 64 << 20,
          .durability = durability,
          .keep = {}};
}

std::unique_ptr<cache::Journal> open(const cache::JournalOptions& options,
                                     const std::function<void(const Entry&)>& put) {
  auto journal =
      cache::Journal::open(cache::real_files(), options,
                           {.put = put, .erase = [](const auto&) {}, .purge = [](auto) {}});
  CHECK(journal.has_value());
  return std::move(*journal);
}

double seconds_of(const std::function<void()>& work) {
  const base::Nanos begin = base::now_ns();
  work();
  return static_cast<double>(base::now_ns() - begin) / 1e9;
}

// Entries numbered from 0 on, in batches.
void fill(cache::Journal& journal, std::uint64_t count) {
  std::vector<std::vector<std::byte>> values(kBatch,
                                             std::vector<std::byte>(kHeadBytes + kBodyBytes));
  std::vector<Entry> entries;
  for (std::uint64_t number = 0; number < count; ++number) {
    std::vector<std::byte>& value = values[entries.size()];
    std::memcpy(value.data(), &number, sizeof number);
    entries.push_back({.key = key_of(number),
                       .head = std::span<const std::byte>(value).first(kHeadBytes),
                       .body = std::span<const std::byte>(value).subspan(kHeadBytes),
                       .attributes = {.ttl_s = 3600},
                       .created_wall_ns = 1});
    if (entries.size() == kBatch || number + 1 == count) {
      CHECK(journal.append(entries).has_value());
      entries.clear();
    }
  }
}

// Reads every file of a folder with large calls: what any recovery must do.
double bare_read(const std::string& directory) {
  std::vector<std::byte> buffer(512 << 10);
  std::uint64_t bytes = 0;
  const double seconds = seconds_of([&] {
    for (const auto& entry : fs::directory_iterator(directory)) {
      const base::Fd file(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
      off_t at = 0;
      for (;;) {
        const ssize_t count = ::pread(file.get(), buffer.data(), buffer.size(), at);
        if (count <= 0) break;
        at += count;
      }
      bytes += static_cast<std::uint64_t>(at);
    }
  });
  return static_cast<double>(bytes) / seconds / kGiga;
}

void recovery(const Options& options, Report& report) {
  const std::uint64_t count = options.quick ? 100'000 : 1'000'000;
  const std::string name = "recover " + std::to_string(count) + " entries of 1.5 KiB";
  if (!report.wants(name)) return;
  const Folder folder;
  const std::string directory = folder.path() + "/cache";
  {
    const auto journal = open(options_in(directory, cache::Durability::kNone), [](const Entry&) {});
    fill(*journal, count);
    CHECK(journal->stats().lost == 0 && journal->stats().dropped_segments == 0);
  }
  // As a table does: every value is copied to where it will be read, memory that is there already.
  std::vector<std::byte> table(count * (kHeadBytes + kBodyBytes));
  for (const bool copies : {false, true}) {
    std::vector<double> rates;
    std::vector<double> bounds;
    double most = 0;
    for (int run = 0; run < 5; ++run) {
      bounds.push_back(bare_read(directory));
      std::uint64_t seen = 0;
      std::uint64_t bytes = 0;
      const double seconds = seconds_of([&] {
        const auto journal =
            open(options_in(directory, cache::Durability::kNone), [&](const Entry& entry) {
              std::uint64_t number = 0;
              std::memcpy(&number, entry.head.data(), sizeof number);
              CHECK(number == seen && entry.body.size() == kBodyBytes);
              if (copies) {
                std::memcpy(table.data() + seen * (kHeadBytes + kBodyBytes) + kHeadBytes,
                            entry.body.data(), kBodyBytes);
              }
              ++seen;
            });
        bytes = journal->stats().recovered_bytes;
      });
      CHECK(seen == count);
      rates.push_back(static_cast<double>(bytes) / seconds / kGiga);
      most = std::max(most, seconds);
    }
    std::printf("%s%s: %.2f s at most\n", name.c_str(), copies ? ", each copied" : "", most);
    report.add({.bench = "journal",
                .name = name + (copies ? ", each copied" : ""),
                .unit = "GB/s",
                .less_is_better = false,
                .ours = summarize(rates),
                .peer = std::nullopt,
                .peer_name = "-",
                .bound = summarize(bounds).median,
                .bound_name = "pread alone",
                .runs = 5});
  }
}

void appending(const Options& options, Report& report) {
  const std::uint64_t count = options.quick ? 20'000 : 200'000;
  const std::string name = "append an entry of 1.5 KiB, 32 at once, none";
  if (!report.wants(name)) return;
  std::vector<double> ours;
  std::vector<double> bare;
  const std::vector<std::byte> record(cache::record_bytes(kHeadBytes + kBodyBytes) * kBatch);
  for (int run = 0; run < 5; ++run) {
    const Folder folder;
    {
      const auto journal =
          open(options_in(folder.path() + "/cache", cache::Durability::kNone), [](const Entry&) {});
      ours.push_back(seconds_of([&] { fill(*journal, count); }) * 1e6 / static_cast<double>(count));
    }
    const base::Fd file(
        ::open((folder.path() + "/bare").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    bare.push_back(seconds_of([&] {
                     for (std::uint64_t i = 0; i < count / kBatch; ++i) {
                       CHECK(::pwrite(file.get(), record.data(), record.size(),
                                      static_cast<off_t>(i * record.size())) > 0);
                     }
                   }) *
                   1e6 / static_cast<double>(count));
  }
  report.add({.bench = "journal",
              .name = name,
              .unit = "us",
              .ours = summarize(ours),
              .peer = std::nullopt,
              .peer_name = "-",
              .bound = summarize(bare).median,
              .bound_name = "pwrite alone",
              .runs = 5});
}

void committing(const Options& options, Report& report) {
  const std::uint64_t count = options.quick ? 50 : 500;
  for (const std::size_t together : {std::size_t{1}, std::size_t{32}}) {
    const std::string name = "append " + std::to_string(together) + " of 1.5 KiB, always";
    if (!report.wants(name)) continue;
    const Folder folder;
    const auto journal =
        open(options_in(folder.path() + "/cache", cache::Durability::kAlways), [](const Entry&) {});
    const base::Fd file(
        ::open((folder.path() + "/bare").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    CHECK(::posix_fallocate(file.get(), 0, 64 << 20) == 0);
    std::vector<std::byte> bytes(cache::record_bytes(kHeadBytes + kBodyBytes) * together);
    std::vector<Entry> entries(together);
    for (std::size_t i = 0; i < together; ++i) {
      entries[i].key = key_of(i);
      entries[i].body = std::span<const std::byte>(bytes).first(kBodyBytes);
    }
    std::vector<double> ours;
    std::vector<double> bare;
    off_t at = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      ours.push_back(seconds_of([&] { CHECK(journal->append(entries).has_value()); }) * 1e6);
      bare.push_back(seconds_of([&] {
                       CHECK(::pwrite(file.get(), bytes.data(), bytes.size(), at) > 0);
                       CHECK(::fdatasync(file.get()) == 0);
                     }) *
                     1e6);
      at += static_cast<off_t>(base::align_up(bytes.size(), cache::kSectorBytes));
    }
    report.add({.bench = "journal",
                .name = name,
                .unit = "us",
                .ours = summarize(ours),
                .peer = std::nullopt,
                .peer_name = "-",
                .bound = summarize(bare).median,
                .bound_name = "pwrite, fdatasync",
                .runs = static_cast<unsigned>(count)});
  }
}

void checksums(Report& report) {
  const std::string name = "crc32c of 1.5 KiB";
  if (!report.wants(name)) return;
  std::vector<std::byte> bytes(kBodyBytes);
  std::uint32_t sum = 0;
  const std::function<void()> contenders[] = {[&] { sum += cache::crc32c(bytes, sum); },
                                              [&] { sum += cache::crc32c_table(bytes, sum); }};
  const auto samples = race(contenders, {.runs = 5, .cpu_time = true});
  report.add({.bench = "journal",
              .name = name + (cache::crc32c_in_hardware() ? "" : " (no instruction here)"),
              .unit = "ns",
              .ours = samples[0],
              .peer = samples[1].median,
              .peer_name = "table",
              .bound = std::nullopt,
              .bound_name = "-",
              .runs = 5});
}

}  // namespace
}  // namespace nacelle::bench

int main(int argc, char** argv) {
  const auto options = nacelle::bench::parse_options({argv, static_cast<std::size_t>(argc)});
  if (!options) {
    std::fprintf(stderr, "bench_journal: %s\n", options.error().message.c_str());
    return 2;
  }
  nacelle::base::set_log_level(nacelle::base::LogLevel::kError);
  nacelle::bench::Report report(*options);
  nacelle::bench::checksums(report);
  nacelle::bench::appending(*options, report);
  nacelle::bench::committing(*options, report);
  nacelle::bench::recovery(*options, report);
  const auto written = report.finish();
  if (!written) std::fprintf(stderr, "bench_journal: %s\n", written.error().message.c_str());
  return written ? 0 : 1;
}
