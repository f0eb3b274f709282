// What a client may do to its two regions, exactly, whoever it is; and that nobody else has them.
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>

#include "tests/hostile/stage.h"
#include "tests/support/other_process.h"
#include "tests/support/raw_client.h"

namespace nacelle::testing {
namespace {

constexpr uid_t kNobody = 65534;
constexpr int kNotPossible = -1;  // this machine does not let the process become somebody else

// A way to harm a region: 0 when it succeeds, else errno. `map` is a read-only mapping of it.
struct Probe {
  const char* name;
  int (*harm)(int fd, std::byte* map, std::size_t size);
  int on_a;  // what must come of it on the request region
  int on_b;  // and on the reply region
};

int outcome(bool succeeded) { return succeeded ? 0 : errno; }

int map_writable(int fd, std::size_t size) {
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return errno;
  ::munmap(at, size);
  return 0;
}

base::Fd reopened(int fd) {
  return base::Fd(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDWR | O_CLOEXEC));
}

constexpr Probe kProbes[] = {
    {"shrink",
     [](int fd, std::byte*, std::size_t size) {
       return outcome(::ftruncate(fd, static_cast<off_t>(size - 4096)) == 0);
     },
     EPERM, EPERM},
    {"grow",
     [](int fd, std::byte*, std::size_t size) {
       return outcome(::ftruncate(fd, static_cast<off_t>(size + 4096)) == 0);
     },
     EPERM, EPERM},
    {"grow by fallocate",
     [](int fd, std::byte*, std::size_t size) {
       return outcome(::fallocate(fd, 0, static_cast<off_t>(size), 4096) == 0);
     },
     EPERM, EPERM},
    {"punch a hole",
     [](int fd, std::byte*, std::size_t) {
       return outcome(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096) == 0);
     },
     0, EPERM},
    {"pwrite",
     [](int fd, std::byte*, std::size_t) { return outcome(::pwrite(fd, "x", 1, 4096) == 1); }, 0,
     EPERM},
    {"map for writing", [](int fd, std::byte*, std::size_t size) { return map_writable(fd, size); },
     0, EPERM},
    {"make a read-only mapping writable",
     [](int, std::byte* map, std::size_t size) {
       const bool changed = ::mprotect(map, size, PROT_READ | PROT_WRITE) == 0;
       const int result = outcome(changed);
       if (changed) ::mprotect(map, size, PROT_READ);
       return result;
     },
     0, EACCES},
    {"write through /proc/self/mem",
     [](int, std::byte* map, std::size_t) {
       const base::Fd memory(::open("/proc/self/mem", O_RDWR | O_CLOEXEC));
       if (!memory) return errno;
       return outcome(::pwrite(memory.get(), "x", 1, reinterpret_cast<off_t>(map + 4096)) == 1);
     },
     EIO, EIO},
    {"open again for writing",
     [](int fd, std::byte*, std::size_t) { return outcome(static_cast<bool>(reopened(fd))); }, 0,
     0},
    {"open again and map for writing",
     [](int fd, std::byte*, std::size_t size) { return map_writable(reopened(fd).get(), size); }, 0,
     EPERM},
    {"open again and pwrite",
     [](int fd, std::byte*, std::size_t) {
       return outcome(::pwrite(reopened(fd).get(), "x", 1, 4096) == 1);
     },
     0, EPERM},
    {"open again and shrink",
     [](int fd, std::byte*, std::size_t) {
       return outcome(::ftruncate(reopened(fd).get(), 0) == 0);
     },
     EPERM, EPERM},
    {"add a seal",
     [](int fd, std::byte*, std::size_t) {
       return outcome(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0);
     },
     EPERM, EPERM},
};

// What a connection is given, and which column of the table holds for it.
struct Given {
  const char* name;
  int (RawClient::*fd)() const;
  int Probe::*expected;
};
const Given kGiven[] = {
    {"A", &RawClient::request_fd, &Probe::on_a},
    {"B", &RawClient::reply_fd, &Probe::on_b},
    {"C", &RawClient::cache_fd, &Probe::on_b},
    {"the touch page", &RawClient::touches_fd, &Probe::on_a},
};

// Connects and tries everything on everything it gets: a number for each, probe by probe.
std::vector<int> try_everything(const std::string& path) {
  const RawClient client(path, shm::kFeatureCache);
  std::vector<int> results;
  for (const Probe& probe : kProbes) {
    for (const Given& given : kGiven) {
      const int fd = (client.*given.fd)();
      struct stat status {};
      CHECK(::fstat(fd, &status) == 0);
      const auto size = static_cast<std::size_t>(status.st_size);
      void* map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
      CHECK(map != MAP_FAILED);
      results.push_back(probe.harm(fd, static_cast<std::byte*>(map), size));
      ::munmap(map, size);
    }
  }
  return results;
}

bool become_nobody() {
  return ::setgroups(0, nullptr) == 0 && ::setresgid(kNobody, kNobody, kNobody) == 0 &&
         ::setresuid(kNobody, kNobody, kNobody) == 0 &&
         ::prctl(PR_SET_DUMPABLE, 1) == 0;  // or its files under /proc would stay root's
}

bool write_file(const char* path, const std::string& text) {
  const base::Fd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// Root, and all its capabilities, in a user namespace of its own.
bool become_root_of_a_namespace() {
  if (::geteuid() == 0 && !become_nobody()) return false;
  const std::string uid = std::to_string(::geteuid());
  const std::string gid = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER) != 0) return false;
  return write_file("/proc/self/setgroups", "deny") &&
         write_file("/proc/self/uid_map", "0 " + uid + " 1") &&
         write_file("/proc/self/gid_map", "0 " + gid + " 1") && ::geteuid() == 0;
}

// The same uid in the same process that the sidecar lets in, or others.
void expect_the_table(const OtherProcess::Job& job, const char* otherwise) {
  const OtherProcess client(job);
  sidecar::Config config = stage_config();
  config.transport.allow_uids = {kNobody};
  config.cache.memory_bytes = 16ULL << 20;
  config.cache.domain = "pod";
  const Stage stage(config);
  // The test's own folder lets nobody in; the sidecar does.
  ASSERT_EQ(::chmod(stage.path().substr(0, stage.path().rfind('/')).c_str(), 0755), 0);
  client.tell(stage.path());
  const std::vector<int> results = client.report();
  if (results == std::vector<int>{kNotPossible}) GTEST_SKIP() << otherwise;
  ASSERT_EQ(results.size(), std::size(kGiven) * std::size(kProbes))
      << "the client ended before its report";
  std::size_t next = 0;
  for (const Probe& probe : kProbes) {
    for (const Given& given : kGiven) {
      EXPECT_EQ(results[next++], probe.*given.expected) << given.name << ": " << probe.name;
    }
  }
}

TEST(Permissions, AsTheSidecarsOwnUser) { expect_the_table(try_everything, ""); }

TEST(Permissions, AsAnotherUser) {
  expect_the_table(
      [](const std::string& path) -> std::vector<int> {
        if (!become_nobody()) return {kNotPossible};
        return try_everything(path);
      },
      "only root can become another user");
}

TEST(Permissions, AsRootOfAUserNamespace) {
  expect_the_table(
      [](const std::string& path) -> std::vector<int> {
        if (!become_root_of_a_namespace()) return {kNotPossible};
        return try_everything(path);
      },
      "this machine does not permit user namespaces");
}

// The check can fail: a region without its last seal is writable in every way.
TEST(Permissions, TheProbesSeeAMissingSeal) {
  const base::Result<base::Fd> fd = shm::create_region("test", 16'384);
  ASSERT_TRUE(fd);
  ASSERT_TRUE(shm::seal_for_clients_to_write(fd->get()));  // instead of seal_against_writers
  void* map = ::mmap(nullptr, 16'384, PROT_READ, MAP_SHARED, fd->get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  int different = 0;
  for (const Probe& probe : kProbes) {
    different += probe.harm(fd->get(), static_cast<std::byte*>(map), 16'384) != probe.on_b ? 1 : 0;
  }
  ::munmap(map, 16'384);
  EXPECT_EQ(different, 6);  // punch, pwrite, map, mprotect, open and map, open and pwrite
}

// The regions that a process has mapped: "device:inode" of each.
std::set<std::string> regions_of(pid_t pid) {
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  std::set<std::string> regions;
  for (std::string line; std::getline(maps, line);) {
    std::string range;
    std::string permissions;
    std::string offset;
    std::string device;
    std::string inode;
    std::istringstream fields(line);
    fields >> range >> permissions >> offset >> device >> inode;
    if (line.find("/memfd:nacelle-") != std::string::npos) regions.insert(device + ":" + inode);
  }
  return regions;
}

std::set<std::string> names_in(const char* folder) {
  std::set<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    names.insert(entry.path().filename());
  }
  return names;
}

TEST(Permissions, NobodyMapsTheRegionsOfAnotherClient) {
  const std::set<std::string> shared_names = names_in("/dev/shm");
  std::vector<std::unique_ptr<OtherProcess>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<OtherProcess>([](const std::string& path) {
      const auto* kept = new RawClient(path);  // mapped until the process ends
      return std::vector<int>{kept->await(0, kept->ask(0, shm::Op::kPing, "here")) ? 1 : 0};
    }));
  }
  const Stage stage;
  for (const auto& client : clients) {
    client->tell(stage.path());
    ASSERT_EQ(client->report(), std::vector<int>{1});
  }
  const std::set<std::string> of_the_sidecar = regions_of(::getpid());
  std::map<std::string, int> mapped_by;
  for (const auto& client : clients) {
    const std::set<std::string> own = regions_of(client->pid());
    EXPECT_EQ(own.size(), 2U) << "A and B";
    for (const std::string& region : own) {
      EXPECT_TRUE(of_the_sidecar.contains(region));
      EXPECT_EQ(++mapped_by[region], 1) << "mapped by two clients";
    }
  }
  EXPECT_EQ(of_the_sidecar.size(), 2 * clients.size() + 2) << "theirs, and the neighbour's";
  EXPECT_EQ(names_in("/dev/shm"), shared_names) << "no shared memory has a name";
}

}  // namespace
}  // namespace nacelle::testing
