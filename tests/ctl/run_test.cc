// nacellectl, from its command line to what it prints, against a control server in this process.
#include "ctl/run.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "ctl/command.h"
#include "sidecar/base/check.h"
#include "sidecar/control/server.h"
#include "tests/support/temp_dir.h"

namespace nacelle::ctl {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

control::StatusReport busy_sidecar() {
  control::StatusReport report;
  report.version = "0.1.0";
  report.pid = 4711;
  report.uptime_s = 8070;
  report.state = "serving";
  report.backend = "cpu (avx512, 2 threads)";
  report.threads = 2;
  report.socket = "/run/nacelle/nacelle.sock";
  report.rss_bytes = 412ULL << 20;
  report.totals = {.requests = 1234567,
                   .texts = 2000000,
                   .tokens = 30000000,
                   .batches = 30000,
                   .batches_mixed = 1200,
                   .batch_texts_max = 64,
                   .busy = 1,
                   .invalid = 2,
                   .expired = 3,
                   .cancelled = 4,
                   .rescued_by_timeout = 0};
  control::ModelReport minilm;
  minilm.name = "minilm";
  minilm.directory = "/models/minilm";
  minilm.architecture = "BertModel";
  minilm.tasks = {"embed"};
  minilm.digest = "0123abcd";
  minilm.tokens_max = 256;
  minilm.long_input = "chunk_mean";
  minilm.windows_max = 1128;
  minilm.prompts = {"passage", "query"};
  minilm.embed_width = 384;
  minilm.parameters = 22713216;
  minilm.memory_bytes = 90ULL << 20;
  minilm.requests = 1000;
  control::ModelReport sentiment;
  sentiment.name = "sentiment";
  sentiment.tasks = {"embed", "classify"};
  sentiment.embed_width = 128;
  sentiment.labels = {"부정", "긍정"};
  report.models = {minilm, sentiment};
  control::ClientReport worker;
  worker.id = 7;
  worker.name = "worker-한글";
  worker.uid = 1000;
  worker.pid = 99;
  worker.connected_s = 59;
  control::ClientReport hostile;
  hostile.id = 8;
  hostile.name = "evil\x1b[2J\n  9  fake";
  report.clients = {worker, hostile};
  return report;
}

std::vector<sidecar::Option> some_options() {
  sidecar::Option slots{.name = "transport.slots",
                        .flag = "--transport.slots",
                        .environment = "NACELLE_TRANSPORT_SLOTS",
                        .type = "whole number",
                        .unit = "requests",
                        .bounds = "1 to 256 requests",
                        .default_value = "64",
                        .value = "128",
                        .source = "/etc/nacelle.yaml:3:10",
                        .help = "Requests that one connection can have in flight."};
  sidecar::Option uids{.name = "transport.allow_uids",
                       .flag = "--transport.allow_uids",
                       .environment = "NACELLE_TRANSPORT_ALLOW_UIDS",
                       .type = "list of numeric ids",
                       .unit = "",
                       .bounds = "",
                       .default_value = "",
                       .value = "",
                       .source = "default",
                       .help = "Users that may connect."};
  return {slots, uids};
}

control::TraceReport some_trace(std::uint64_t last) {
  control::TraceReport report;
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(last, 3); ++i) {
    control::TracedRequest request;
    request.number = i + 1;
    request.taken_ns = 1000 * i;
    request.tokenized_ns = request.taken_ns + 10;
    request.replied_ns = request.taken_ns + 900;
    report.requests.push_back(request);
  }
  return report;
}

// A statistics page that is written all the time.
class Page {
 public:
  Page() : fd_(::memfd_create("page", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    CHECK(::ftruncate(fd_.get(), sizeof(control::StatisticsPage)) == 0);
    void* const memory = ::mmap(nullptr, sizeof(control::StatisticsPage), PROT_READ | PROT_WRITE,
                                MAP_SHARED, fd_.get(), 0);
    CHECK(memory != MAP_FAILED);
    CHECK(::fcntl(fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    page_ = new (memory) control::StatisticsPage;
    page_->magic = control::kStatisticsMagic;
    page_->version = control::kStatisticsVersion;
    page_->size = sizeof *page_;
    control::write_statistics(*page_, {});
    thread_ = std::thread([this] {
      control::Statistics next;
      while (!done_.load()) {
        ++next.updates;
        next.uptime_ns = next.updates * 1'000'000;
        control::write_statistics(*page_, next);
        ::poll(nullptr, 0, 1);
      }
    });
  }
  ~Page() {
    done_ = true;
    thread_.join();
    ::munmap(page_, sizeof *page_);
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  base::Fd fd_;
  control::StatisticsPage* page_ = nullptr;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

class Ctl : public ::testing::Test {
 protected:
  Ctl() {
    serve(control::all_verbs({.status = busy_sidecar,
                              .options = some_options(),
                              .metrics = [] { return std::string("# HELP x X.\n"); },
                              .trace = some_trace,
                              .watch = [this] { return page_.fd(); }}));
  }

  void serve(std::vector<control::Verb> verbs) {
    auto started = control::Server::start({.path = socket_}, std::move(verbs));
    CHECK(started.has_value());
    server_ = std::move(*started);
  }

  // Runs with --socket of this test's sidecar.
  Ran ask(std::vector<std::string> words) {
    words.push_back("--socket=" + socket_);
    return ctl(std::move(words), nullptr);
  }
  static Ran ctl(const std::vector<std::string>& words, const char* socket_variable) {
    std::vector<const char*> argv = {"nacellectl"};
    for (const std::string& word : words) argv.push_back(word.c_str());
    return run(static_cast<int>(argv.size()), argv.data(), socket_variable);
  }

  testing::TempDir folder_;
  std::string socket_ = folder_ / "c.sock";
  Page page_;
  std::unique_ptr<control::Server> server_;
};

TEST_F(Ctl, StatusShowsThePartsInColumns) {
  const Ran ran = ask({"status"});
  EXPECT_EQ(ran.exit, kDone);
  EXPECT_THAT(ran.err, IsEmpty());
  EXPECT_EQ(ran.out,
            R"(nacelled 0.1.0, serving, up 2 h 14 min
  pid           4711
  backend       cpu (avx512, 2 threads)
  threads       2
  socket        /run/nacelle/nacelle.sock
  memory        412.0 MiB resident

models
  name       tasks              memory  requests  texts  tokens  batches  errors
  minilm     embed            90.0 MiB     1,000      0       0        0       0
  sentiment  embed, classify       0 B         0      0       0        0       0

clients
  id  name                       uid  pid  connected  requests  texts  in flight
   7  worker-한글               1000   99       59 s         0      0          0
   8  evil\x1b[2J\x0a  9  fake     0    -        0 s         0      0          0

since the start
  requests      1,234,567
  texts         2,000,000 (30,000,000 tokens)
  batches       30,000 (1,200 with texts of several clients; largest 64 texts)
  not served    1 busy, 2 invalid, 3 expired, 4 cancelled
)");
}

TEST_F(Ctl, ARescuedWakeUpIsNotHidden) {
  auto report = busy_sidecar();
  report.totals.rescued_by_timeout = 1;
  report.clients.clear();
  serve(control::all_verbs({.status = [report] { return report; }, .options = {}}));
  EXPECT_THAT(ask({"status"}).out,
              AllOf(HasSubstr("please report this"), HasSubstr("none connected")));
}

TEST_F(Ctl, WhatHostileClientsDidIsCountedByName) {
  auto report = busy_sidecar();
  report.violations = {{"generation", 1200}, {"socket", 1}};
  report.refused_connections = {{"denied", 3}};
  serve(control::all_verbs({.status = [report] { return report; }, .options = {}}));
  EXPECT_THAT(ask({"status"}).out, AllOf(HasSubstr("violations    1,200 generation, 1 socket\n"),
                                         HasSubstr("refused       connections: 3 denied\n")));
}

TEST_F(Ctl, ModelsShowsWhatEachCanDo) {
  const Ran ran = ask({"models"});
  EXPECT_EQ(ran.exit, kDone);
  EXPECT_THAT(
      ran.out,
      AllOf(
          StartsWith("minilm\n  tasks         embed (384 floats)\n"),
          HasSubstr("  parameters    22,713,216\n"),
          HasSubstr("  longest text  256 tokens; longer ones: chunk_mean, at most 1,128 windows\n"),
          HasSubstr("  prompts       passage, query\n"),
          HasSubstr(
              "sentiment\n  tasks         embed (128 floats), classify (2 labels: 부정, 긍정)\n"),
          HasSubstr("  digest        0123abcd\n")));
}

TEST_F(Ctl, ModelsShowsOneServiceOrSaysThatThereIsNone) {
  EXPECT_THAT(ask({"models", "sentiment"}).out, StartsWith("sentiment\n"));
  const Ran ran = ask({"models", "nobody"});
  EXPECT_EQ(ran.exit, kRefused);
  EXPECT_THAT(ran.err, HasSubstr("no service is called \"nobody\""));
}

TEST_F(Ctl, ConfigExplainShowsValuesAndWhoSetThem) {
  EXPECT_EQ(ask({"config", "explain"}).out,
            R"(  option                value         set by
  transport.slots       128 requests  /etc/nacelle.yaml:3:10
  transport.allow_uids  none          default
)");
  EXPECT_EQ(ask({"config", "explain", "transport.slots"}).out,
            R"(transport.slots
  value         128 requests
  set by        /etc/nacelle.yaml:3:10
  default       64 requests
  type          whole number: 1 to 256 requests
  flag          --transport.slots=
  environment   NACELLE_TRANSPORT_SLOTS

Requests that one connection can have in flight.
)");
}

TEST_F(Ctl, AnUnknownOptionIsRefusedWithTheClosestName) {
  const Ran ran = ask({"config", "explain", "slots"});
  EXPECT_EQ(ran.exit, kRefused);
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, HasSubstr("did you mean \"transport.slots\"?"));
}

TEST_F(Ctl, JsonIsOneDocumentForEveryCommand) {
  for (const Command* command : all_commands()) {
    if (command->run == nullptr) continue;  // works on files that it must be given
    const Ran ran = ask({std::string(command->name).substr(0, command->name.find(' ')),
                         command->name == "config explain" ? "explain"
                         : command->name == "top"          ? "--once"
                                                           : "--json",
                         "--json"});
    EXPECT_EQ(ran.exit, kDone) << command->name << ": " << ran.err;
    EXPECT_TRUE(nlohmann::json::accept(ran.out)) << command->name << ": " << ran.out;
  }
  const auto status = nlohmann::json::parse(ask({"status", "--json"}).out);
  EXPECT_EQ(status["totals"]["batches_mixed"], 1200);
  EXPECT_EQ(status["clients"][1]["name"], "evil\x1b[2J\n  9  fake") << "scripts get the real name";
}

TEST_F(Ctl, MetricsAreThePageAsItIs) { EXPECT_EQ(ask({"metrics"}).out, "# HELP x X.\n"); }

TEST_F(Ctl, TraceWritesAFileAndSaysWhatIsInIt) {
  const std::string path = folder_ / "trace.json";
  const Ran ran = ask({"trace", path, "--last", "2"});
  EXPECT_EQ(ran.exit, kDone) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("2 requests and 0 batches"));
  std::ifstream file(path);
  EXPECT_TRUE(nlohmann::json::accept(file));
  EXPECT_THAT(ask({"trace"}).err, HasSubstr("name the file"));
  EXPECT_THAT(ask({"trace", path, "--last=none"}).err, HasSubstr("--last is \"none\""));
  EXPECT_THAT(ask({"trace", folder_ / "no/such/folder.json"}).err, HasSubstr("cannot write"));
}

TEST_F(Ctl, TheSocketComesFromTheFlagThenTheEnvironment) {
  EXPECT_EQ(ctl({"status"}, socket_.c_str()).exit, kDone);
  const std::string elsewhere = folder_ / "nobody.sock";
  EXPECT_EQ(ctl({"status", "--socket", socket_}, elsewhere.c_str()).exit, kDone);
  const Ran ran = ctl({"status", "--socket=" + elsewhere}, socket_.c_str());
  EXPECT_EQ(ran.exit, kUnreachable);
  EXPECT_THAT(ran.err, AllOf(HasSubstr(elsewhere), HasSubstr("Is nacelled running?"),
                             HasSubstr("--socket=PATH"), HasSubstr("NACELLE_CONTROL_SOCKET")));
  EXPECT_THAT(ran.out, IsEmpty());
}

TEST_F(Ctl, ASidecarThatRefusesOrAnswersNonsenseIsToldApart) {
  serve({{"status",
          [](const control::Json&) -> base::Result<control::Json> {
            return base::Error{base::Code::kUnavailable, "not\x1bnow"};
          }},
         {"models", [](const control::Json&) -> base::Result<control::Json> {
            return control::Json::object();
          }}});
  const Ran refused = ask({"status"});
  EXPECT_EQ(refused.exit, kRefused);
  EXPECT_EQ(refused.err, "nacellectl status: not\\x1bnow\n");
  const Ran nonsense = ask({"models"});
  EXPECT_EQ(nonsense.exit, kRefused);
  EXPECT_THAT(nonsense.err, HasSubstr("different versions"));
}

// Each row: a command line that asks nobody, and what it says.
TEST_F(Ctl, CommandLinesThatMakeNoSenseAreUsageErrors) {
  const std::pair<std::vector<std::string>, std::string> wrong[] = {
      {{}, "usage: nacellectl"},
      {{"staus"}, "unknown command \"staus\"; did you mean \"status\"?"},
      {{"config"}, "a group of commands: nacellectl config explain"},
      {{"config", "explian"},
       "unknown command \"config explian\"; did you mean \"config explain\"?"},
      {{"\x1b[2J"}, "unknown command \"\\x1b[2J\"; see nacellectl --help"},
      {{"status", "now"}, "status takes no argument, and there is \"now\""},
      {{"models", "a", "b"}, "models takes [SERVICE], and there is \"b\""},
      {{"status", "--jsn"}, "unknown option \"--jsn\"; did you mean \"--json\"?"},
      {{"status", "--zzzzzzzz"}, "see nacellectl --help"},
      {{"status", "--last=3"}, "status takes no option \"--last\""},
      {{"status", "--socket"}, "--socket"},
      {{"status", "--socket="}, "--socket"},
      {{"status", "--socket=/" + std::string(200, 'x')}, "1 to 107 bytes"},
  };
  for (const auto& [words, reason] : wrong) {
    const Ran ran = ctl(words, nullptr);
    EXPECT_EQ(ran.exit, kUsage) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(reason));
    EXPECT_THAT(ran.out, IsEmpty());
  }
}

TEST_F(Ctl, HelpNeedsNoSidecarAndKnowsEveryCommand) {
  const Ran all = ctl({"--help"}, nullptr);
  EXPECT_EQ(all.exit, kDone);
  for (const Command* command : all_commands()) {
    EXPECT_THAT(all.out, HasSubstr(std::string(command->summary)));
    const Ran one = ctl({"help", std::string(command->name).substr(0, command->name.find(' ')),
                         command->name == "config explain" ? "explain" : "-h"},
                        nullptr);
    EXPECT_EQ(one.exit, kDone) << one.err;
    EXPECT_THAT(one.out, HasSubstr(std::string(command->help)));
  }
  // No regular expression: GoogleTest's are POSIX's, and Oniguruma, which the tokenizer links, has
  // functions of the same names.
  const std::string version = ctl({"--version"}, nullptr).out;
  EXPECT_THAT(version, AllOf(StartsWith("nacellectl "), EndsWith("\n")));
  EXPECT_EQ(version.find_first_not_of("0123456789.", 11), version.size() - 1) << version;
  EXPECT_GT(version.size(), 12U);
}

}  // namespace
}  // namespace nacelle::ctl
