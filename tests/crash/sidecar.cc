#include "tests/crash/sidecar.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <string_view>
#include <vector>

#include "shm/handshake.h"
#include "shm/layout.h"
#include "shm/region.h"
#include "sidecar/base/check.h"

namespace nacelle::crash {
namespace {

std::size_t entries_of(const std::string& folder) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

// The sidecar reads how full the machine is every few seconds, and first when it begins to serve:
// those files are open for a moment, whatever clients do.
bool is_a_look_at_the_machine(const std::string& path) {
  return path.starts_with("/proc/") || path.starts_with("/sys/");
}

std::size_t descriptors_of(const std::string& folder) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::error_code closed;
    const auto target = std::filesystem::read_symlink(entry.path(), closed);
    if (!closed && !is_a_look_at_the_machine(target.string())) ++count;
  }
  return count;
}

// Of a line of /proc/PID/maps.
bool has_name(const std::string& line) { return line.find_first_of("/[") != std::string::npos; }

// The tester's own settings are no business of the sidecar under test.
std::vector<char*> environment() {
  std::vector<char*> kept;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with("NACELLE_")) kept.push_back(*variable);
  }
  kept.push_back(nullptr);
  return kept;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Footprint& footprint) {
  return out << footprint.fds << " fds, " << footprint.threads << " threads, " << footprint.maps
             << " maps, " << footprint.regions << " of them shared with clients";
}

Sidecar::Sidecar(std::string more)
    : socket_(dir_ / "nacelle.sock"), control_socket_(dir_ / "control.sock"), log_(dir_ / "log") {
  // Small regions, since clients come by the thousand; and a sidecar that sleeps as soon as there
  // is nothing to do, so that a call is made the same way each time.
  config_ = dir_.write("nacelle.yaml",
                       "socket: " + socket_ + "\ncontrol: {socket: " + control_socket_ +
                           "}\nservices: {tiny: " NACELLE_SOURCE_DIR
                           "/tests/data/tiny-bert}\nkernels: {threads: 1}\ntransport: {spin_us: 0, "
                           "request_arena_bytes: 524288, reply_arena_bytes: 524288}\n"
                           "limits: {text_bytes_max: 65536, items_max: 256}\n" +
                           more);
}

void Sidecar::start(const Namespaces& namespaces) {
  control_.reset();
  process_ = Process::fork(
      [this] {
        const int log = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        CHECK(log >= 0 && ::dup2(log, STDERR_FILENO) == STDERR_FILENO);
        const std::string argument = "--config=" + config_;
        ::execle(NACELLE_NACELLED, "nacelled", argument.c_str(), nullptr, environment().data());
        return 127;
      },
      namespaces);
  const bool serving = eventually([this] {
    base::Result<control::Client> client = control::Client::connect(control_socket_, 10'000);
    if (!client) return false;
    control_.emplace(*std::move(client));
    base::Result<control::StatusReport> report = control_->status();
    if (!report) control_.reset();
    return report && report->state == "serving";
  });
  if (!serving) {
    std::ifstream log(log_);
    std::cerr << log.rdbuf();
  }
  CHECK(serving);
}

base::Nanos Sidecar::kill() {
  const base::Nanos died = process_.kill();
  control_.reset();
  return died;
}

int Sidecar::terminate() {
  control_.reset();
  CHECK(::kill(process_.pid(), SIGTERM) == 0);
  return eventually([this] { return process_.ended(); }) ? process_.wait() : -1;
}

std::string Sidecar::last_log_line(std::string_view with) const {
  std::ifstream log(log_);
  std::string last;
  for (std::string line; std::getline(log, line);) {
    if (line.find(with) != std::string::npos) last = line;
  }
  return last;
}

control::StatusReport Sidecar::status() {
  CHECK(control_.has_value());
  base::Result<control::StatusReport> report = control_->status();
  CHECK(report.has_value());
  return *std::move(report);
}

Footprint Sidecar::footprint() const {
  const std::string proc = "/proc/" + std::to_string(pid());
  Footprint footprint{.fds = descriptors_of(proc + "/fd"), .threads = entries_of(proc + "/task")};
  std::ifstream maps(proc + "/maps");
  for (std::string line; std::getline(maps, line);) {
    if (has_name(line)) ++footprint.maps;
    // The statistics page is nobody's region.
    if (line.find("/memfd:nacelle-") != std::string::npos &&
        line.find("/memfd:nacelle-statistics") == std::string::npos) {
      ++footprint.regions;
    }
  }
  return footprint;
}

std::size_t Sidecar::anonymous_maps() const {
  std::ifstream maps("/proc/" + std::to_string(pid()) + "/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) count += has_name(line) ? 0U : 1U;
  return count;
}

std::uint64_t Sidecar::epoch() const {
  auto greeting = shm::greet(socket_, shm::Hello{}, base::now_ns() + 10 * base::kSecond);
  CHECK(greeting.has_value());
  auto reply = shm::Mapping::map(greeting->fds[1].get(), greeting->welcome.reply_region_size,
                                 shm::Access::kRead);
  CHECK(reply.has_value());
  return reinterpret_cast<const shm::ReplyHeader*>(reply->data())->epoch;
}

std::string Sidecar::complaints() const {
  std::ifstream log(log_);
  std::string found;
  for (std::string line; std::getline(log, line);) {
    if (line.find("Z info ") != std::string::npos) continue;
    // Clients that died while they connected.
    if (line.find("the client hung up during the handshake") != std::string::npos) continue;
    if (line.find("cannot answer a client's hello: Broken pipe") != std::string::npos) continue;
    found += line + "\n";
  }
  return found;
}

bool Sidecar::quiet(std::size_t clients) {
  return eventually([&] {
    const control::StatusReport report = status();
    if (report.clients.size() != clients) return false;
    for (const control::ClientReport& client : report.clients) {
      if (client.in_flight != 0) return false;
    }
    return footprint().regions == 2 * clients;
  });
}

}  // namespace nacelle::crash
