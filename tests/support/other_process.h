// A process beside this one, forked while this one has no threads yet, so that anything may be done
// in it. Told what to do by a line of text, and asked how it went by a list of numbers.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "sidecar/base/check.h"

namespace nacelle::testing {

class OtherProcess {
 public:
  using Job = std::function<std::vector<int>(const std::string& told)>;

  // Forks. The child waits for tell(), does the job, reports, and stays until it is let go.
  explicit OtherProcess(const Job& job) {
    int down[2];
    int up[2];
    CHECK(::pipe(down) == 0 && ::pipe(up) == 0);
    pid_ = ::fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::close(down[1]);
      ::close(up[0]);
      std::string told;
      for (char c = 0; ::read(down[0], &c, 1) == 1 && c != '\n';) told += c;
      if (told.empty()) ::_exit(0);  // never told
      const std::vector<int> report = job(told);
      const auto count = static_cast<int>(report.size());
      bool sent = ::write(up[1], &count, sizeof count) == sizeof count;
      for (const int number : report) {
        sent = sent && ::write(up[1], &number, sizeof number) == sizeof number;
      }
      char let_go = 0;
      [[maybe_unused]] const ssize_t end = ::read(down[0], &let_go, 1);
      ::_exit(sent ? 0 : 1);
    }
    ::close(down[0]);
    ::close(up[1]);
    to_ = down[1];
    from_ = up[0];
  }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;
  ~OtherProcess() {
    // Said, since later children hold this end of the pipe, too: closing it would not be noticed.
    [[maybe_unused]] const ssize_t let_go = ::write(to_, "\n", 1);
    ::close(to_);
    ::close(from_);
    int status = 0;
    ::waitpid(pid_, &status, 0);
  }

  [[nodiscard]] pid_t pid() const { return pid_; }
  void tell(const std::string& what) const {
    const std::string line = what + "\n";
    CHECK(::write(to_, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
  }
  // Waits for the job to be done. Empty when the process ended without a report.
  [[nodiscard]] std::vector<int> report() const {
    int count = 0;
    if (::read(from_, &count, sizeof count) != sizeof count) return {};
    std::vector<int> numbers(static_cast<std::size_t>(count));
    for (int& number : numbers) {
      if (::read(from_, &number, sizeof number) != sizeof number) return {};
    }
    return numbers;
  }

 private:
  pid_t pid_ = 0;
  int to_ = -1;
  int from_ = -1;
};

}  // namespace nacelle::testing
