#include "tests/crash/process.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <string_view>

#include "sidecar/base/check.h"
#include "sidecar/base/fd.h"
#include "tests/crash/ledger.h"

namespace nacelle::crash {
namespace {

// Headers of Debian 12 have it under a feature macro only.
constexpr int kNewTime = 0x00000080;  // CLONE_NEWTIME

bool write_file(const char* path, std::string_view text) {
  const base::Fd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// While this lives, children begin in a time namespace of their own.
class TimeForChildren {
 public:
  TimeForChildren() : before_(::open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC)) {
    entered_ = before_ && ::unshare(kNewTime) == 0 &&
               write_file("/proc/self/timens_offsets", "monotonic 86400 0\n");
  }
  ~TimeForChildren() {
    if (before_) ::setns(before_.get(), kNewTime);
  }
  TimeForChildren(const TimeForChildren&) = delete;
  TimeForChildren& operator=(const TimeForChildren&) = delete;
  [[nodiscard]] bool entered() const { return entered_; }

 private:
  base::Fd before_;
  bool entered_ = false;
};

// Root of the new user namespace is who we are outside.
bool map_users(uid_t uid, gid_t gid) {
  return write_file("/proc/self/setgroups", "deny") &&
         write_file("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1\n") &&
         write_file("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1\n");
}

pid_t fork_into(const Namespaces& namespaces) {
  if (!namespaces.pid_and_user) return ::fork();
  // Not unshare(): the new process must be the direct child of the one that waits for it, and of
  // the one that traces it.
  const unsigned long flags = CLONE_NEWUSER | CLONE_NEWPID | SIGCHLD;
  return static_cast<pid_t>(::syscall(SYS_clone, flags, nullptr, nullptr, nullptr, nullptr));
}

}  // namespace

std::optional<std::string> not_permitted(const Namespaces& namespaces) {
  if (namespaces.time) {
    const TimeForChildren time;
    if (!time.entered()) {
      return "no time namespaces here: " + std::string(std::strerror(errno));
    }
  }
  if (namespaces.pid_and_user) {
    const uid_t uid = ::geteuid();
    const gid_t gid = ::getegid();
    const pid_t pid = fork_into(namespaces);
    if (pid < 0) return "no pid and user namespaces here: " + std::string(std::strerror(errno));
    if (pid == 0) ::_exit(map_users(uid, gid) ? 0 : 1);
    int status = 0;
    CHECK(::waitpid(pid, &status, 0) == pid);
    if (status != 0) return "a user namespace cannot be given its users here";
  }
  return std::nullopt;
}

Process Process::fork(const std::function<int()>& body, const Namespaces& namespaces) {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  std::optional<TimeForChildren> time;
  if (namespaces.time) {
    time.emplace();
    CHECK(time->entered());
  }
  const pid_t pid = fork_into(namespaces);
  CHECK(pid >= 0);
  if (pid > 0) return Process(pid);
  if (namespaces.pid_and_user) CHECK(map_users(uid, gid));
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::_exit(body());
}

base::Nanos Process::kill() {
  if (pid_ <= 0) return 0;
  ::kill(pid_, SIGKILL);
  // A traced or stopped child may have older news to tell first.
  int status = 0;
  pid_t ended = 0;
  do {
    ended = ::waitpid(pid_, &status, __WALL);
  } while ((ended < 0 && errno == EINTR) || (ended > 0 && WIFSTOPPED(status)));
  pid_ = 0;
  return wall_ns();
}

void Process::stop() {
  CHECK(pid_ > 0 && ::kill(pid_, SIGSTOP) == 0);
  int status = 0;
  CHECK(::waitpid(pid_, &status, WUNTRACED) == pid_ && WIFSTOPPED(status));
}

void Process::go_on() const { CHECK(pid_ > 0 && ::kill(pid_, SIGCONT) == 0); }

bool Process::ended() const {
  siginfo_t info{};
  CHECK(::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0);
  return info.si_pid == pid_;
}

int Process::wait() {
  CHECK(pid_ > 0);
  int status = 0;
  CHECK(::waitpid(pid_, &status, 0) == pid_);
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void* shared_memory(std::size_t size) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return memory;
}

bool eventually(const std::function<bool()>& done, base::Nanos limit) {
  const base::Nanos stop = base::now_ns() + limit;
  while (!done()) {
    if (base::now_ns() > stop) return false;
    const timespec pause{0, 100'000};
    ::nanosleep(&pause, nullptr);
  }
  return true;
}

}  // namespace nacelle::crash
