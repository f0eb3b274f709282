#include "tests/hostile/stage.h"

#include <dirent.h>

#include <fstream>
#include <ostream>
#include <random>
#include <utility>
#include <vector>

#include "sidecar/base/log.h"
#include "tests/hostile/echo_model.h"
#include "tests/support/raw_client.h"

namespace nacelle::testing {
namespace {

constexpr const char* kNeighbourName = "neighbour";

}  // namespace

std::size_t open_descriptors() {
  DIR* folder = ::opendir("/proc/self/fd");
  CHECK(folder != nullptr);
  std::size_t count = 0;
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count - 3;  // ".", ".." and the folder itself
}

std::size_t mapped_regions() {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/memfd:nacelle-") != std::string::npos) ++count;
  }
  return count;
}

std::ostream& operator<<(std::ostream& out, const Books& books) {
  for (const auto& [name, count] : books.violations) out << name << " " << count << ", ";
  for (const auto& [name, count] : books.refused) out << "refused " << name << " " << count << ", ";
  return out << books.clients << " clients, " << books.in_flight_of_others << " in flight, "
             << books.descriptors << " descriptors, " << books.regions << " mappings, "
             << books.rescued << " rescued";
}

Neighbour::Neighbour(const std::string& socket, std::uint64_t seed) {
  auto client = Client::connect({.socket = socket, .name = kNeighbourName});
  CHECK(client.has_value());
  client_ = *std::move(client);
  thread_ = std::thread([this, seed] { call(seed); });
}

Neighbour::~Neighbour() {
  stopping_ = true;
  thread_.join();
}

void Neighbour::call(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto wrong = [this](const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (complaint_.empty()) complaint_ = what;
  };
  while (!stopping_) {
    std::vector<std::byte> data(random() % 3 == 0 ? random() % 20'000 : random() % 200);
    for (std::byte& byte : data) byte = static_cast<std::byte>(random());
    std::vector<std::byte> echo = data;
    if (const base::Status status = client_->ping(echo); !status) {
      wrong("ping: " + status.error().message);
    } else if (echo != data) {
      wrong("a ping came back with other bytes");
    }
    std::vector<std::string> texts(1 + random() % 4);
    for (std::string& text : texts) text = "text " + std::to_string(random());
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    const base::Result<Rows> rows = client_->embed("echo", views);
    if (!rows) {
      wrong("embed: " + rows.error().message);
    } else {
      for (std::size_t i = 0; i < texts.size(); ++i) {
        const auto row = rows->row(i);
        if (std::vector<float>(row.begin(), row.end()) != echo_of(texts[i])) {
          wrong("a text came back with another row");
        }
      }
    }
    calls_.fetch_add(1);
  }
}

bool Neighbour::served(std::uint64_t count) {
  const std::uint64_t enough = calls_.load() + count;
  return eventually([&] { return calls_.load() >= enough; }) && complaint().empty();
}

std::string Neighbour::complaint() const {
  const std::lock_guard lock(mutex_);
  return complaint_;
}

sidecar::Config stage_config() {
  sidecar::Config config;
  config.transport.slots = 8;
  config.transport.request_arena_bytes = 64 << 10;
  config.transport.reply_arena_bytes = 64 << 10;
  config.transport.connections_max = 8;
  config.limits.items_max = 64;
  config.limits.text_bytes_max = 32 << 10;
  return config;
}

Stage::Stage(const sidecar::Config& config) : config_(config) {
  base::set_log_level(base::LogLevel::kError);  // what the scenarios provoke is expected
  config_.socket = dir_ / "nacelle.sock";
  dir_.write("model/config.json", "{}");
  config_.services = {{"echo", dir_ / "model"}};
  auto services = sidecar::Services::load(config_, no_backend());
  CHECK(services.has_value());
  services_ = std::make_unique<sidecar::Services>(*std::move(services));
  auto pipeline = sidecar::Pipeline::start(config_, *services_);
  CHECK(pipeline.has_value());
  pipeline_ = *std::move(pipeline);
  neighbour_ = std::make_unique<Neighbour>(config_.socket, 1);
  CHECK(neighbour_->served());
}

Stage::~Stage() { neighbour_.reset(); }

Books Stage::books() const {
  const control::StatusReport report = pipeline_->report();
  Books books;
  for (const control::NamedCount& entry : report.violations) {
    books.violations[entry.name] = entry.count;
  }
  for (const control::NamedCount& entry : report.refused_connections) {
    books.refused[entry.name] = entry.count;
  }
  books.clients = report.clients.size();
  for (const control::ClientReport& client : report.clients) {
    if (client.name != kNeighbourName) books.in_flight_of_others += client.in_flight;
  }
  books.descriptors = open_descriptors();
  books.regions = mapped_regions();
  books.rescued = report.totals.rescued_by_timeout;
  return books;
}

}  // namespace nacelle::testing
