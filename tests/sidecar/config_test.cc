// Options from flags, environment and file: who wins, what is refused, and in which words.
#include "sidecar/config.h"

#include <fstream>
#include <set>
#include <sstream>

#include "sidecar/base/suggest.h"
#include "sidecar/config/environment.h"
#include "tests/sidecar/config_support.h"

namespace nacelle::sidecar {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

TEST(Config, WithOneServiceEverythingElseHasADefault) {
  const auto loaded = load({.flags = {"--services=minilm=/models/minilm"}});
  ASSERT_TRUE(loaded) << complaint(loaded);
  EXPECT_EQ(loaded->config.socket, "/run/nacelle/nacelle.sock");
  EXPECT_EQ(loaded->config.models, "/var/lib/nacelle/models");
  EXPECT_EQ(loaded->config.control.socket, "/run/nacelle/control.sock");
  EXPECT_EQ(loaded->config.transport.slots, 64U);
  EXPECT_EQ(loaded->config.transport.spin_us, -1);
  EXPECT_EQ(loaded->config.kernels.threads, 0U);
  EXPECT_EQ(option(*loaded, "transport.slots").source, "default");
  EXPECT_EQ(loaded->print, std::nullopt);
}

TEST(Config, EveryDefaultCouldHaveBeenWrittenByHand) {
  const auto defaults = load_served({});
  ASSERT_TRUE(defaults) << complaint(defaults);
  for (const Option& o : defaults->options) {
    if (o.default_value.empty()) continue;
    const auto loaded = load_served({.flags = {o.flag + "=" + o.default_value}});
    EXPECT_EQ(complaint(loaded), "") << o.name;
  }
}

TEST(Config, AFlagWinsOverTheEnvironmentTheEnvironmentOverTheFile) {
  const std::string yaml =
      "services: {a: /a}\ntransport: {slots: 10}\nscheduler: {max_delay_us: 1}\n";
  const auto file = load({.yaml = yaml});
  ASSERT_TRUE(file) << complaint(file);
  EXPECT_EQ(file->config.transport.slots, 10U);
  EXPECT_THAT(option(*file, "transport.slots").source, EndsWith("n.yaml:2:20"));

  const auto variable = load({.environment = {"NACELLE_TRANSPORT_SLOTS=20"}, .yaml = yaml});
  ASSERT_TRUE(variable) << complaint(variable);
  EXPECT_EQ(variable->config.transport.slots, 20U);
  EXPECT_EQ(option(*variable, "transport.slots").source, "NACELLE_TRANSPORT_SLOTS");

  const auto flag = load({.flags = {"--transport.slots=30"},
                          .environment = {"NACELLE_TRANSPORT_SLOTS=20"},
                          .yaml = yaml});
  ASSERT_TRUE(flag) << complaint(flag);
  EXPECT_EQ(flag->config.transport.slots, 30U);
  EXPECT_EQ(option(*flag, "transport.slots").source, "--transport.slots");
  EXPECT_EQ(flag->config.scheduler.max_delay_us, 1U) << "an option the flags say nothing about";
}

TEST(Config, AWrongValueIsAnErrorEvenWhereABetterPlaceHidesIt) {
  const auto loaded =
      load_served({.flags = {"--transport.slots=30"}, .yaml = "transport: {slots: 0}\n"});
  EXPECT_THAT(complaint(loaded),
              AllOf(HasSubstr("transport.slots = \"0\""), HasSubstr("n.yaml:1:20")));
}

TEST(Config, TheFileIsNamedByAFlagBeforeTheEnvironment) {
  const testing::TempDir folder;
  const std::string a = folder.write("a.yaml", "services: {a: /a}\n");
  const std::string b = folder.write("b.yaml", "services: {b: /b}\n");
  const auto from_environment = load({.environment = {"NACELLE_CONFIG=" + a}});
  ASSERT_TRUE(from_environment) << complaint(from_environment);
  EXPECT_EQ(from_environment->config.services.at(0).name, "a");
  const auto from_flag = load({.flags = {"--config=" + b}, .environment = {"NACELLE_CONFIG=" + a}});
  ASSERT_TRUE(from_flag) << complaint(from_flag);
  EXPECT_EQ(from_flag->config.services.at(0).name, "b");
}

TEST(Config, AMissingFileIsNamedWithWhatNamedIt) {
  const auto loaded = load({.environment = {"NACELLE_CONFIG=/no/such.yaml"}});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, base::Code::kNotFound);
  EXPECT_THAT(complaint(loaded), AllOf(HasSubstr("/no/such.yaml"), HasSubstr("NACELLE_CONFIG")));
}

TEST(Config, AFolderOrAHugeFileIsNoConfiguration) {
  const testing::TempDir folder;
  EXPECT_THAT(complaint(load({.flags = {"--config=" + folder.path()}})),
              HasSubstr("not a regular file"));
  const std::string huge_file = folder.write("huge", std::string((1 << 20) + 1, '#'));
  const auto huge = load({.flags = {"--config=" + huge_file}});
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().code, base::Code::kTooLarge);
}

TEST(Config, ASidecarWithoutServicesDoesNotStart) {
  EXPECT_THAT(complaint(load({})), StartsWith("services: no service is configured"));
}

TEST(Config, ServicesAreSortedAndCheckedByName) {
  const auto loaded = load({.flags = {"--services=b=/models/b,a=store-entry"}});
  ASSERT_TRUE(loaded) << complaint(loaded);
  ASSERT_EQ(loaded->config.services.size(), 2U);
  EXPECT_EQ(loaded->config.services[0].name, "a");
  EXPECT_EQ(option(*loaded, "services").value, "a=store-entry,b=/models/b");

  const std::pair<std::string, std::string> wrong[] = {
      {"A=/a", "a service called \"A\""},
      {"=/a", "a service called \"\""},
      {std::string(64, 'x') + "=/a", "1 to 63"},
      {"한글=/a", "1 to 63"},
      {"a=", "no model for \"a\""},
      {"a", "where name=model belongs"},
      {"a=/x,a=/y", "\"a\" twice"},
      {"a=..", "no entry of a store"},
      {"a=models/minilm", "a path starts with /, ./ or ../"},
      {"a=spaced name", "no entry of a store"},
      {"a=/x\n", "control characters"},
      {"a=/" + std::string(4096, 'x'), "at most 4095"},
  };
  for (const auto& [written, reason] : wrong) {
    EXPECT_THAT(complaint(load({.flags = {"--services=" + written}})), HasSubstr(reason))
        << written;
  }
}

TEST(Config, AtMost64ServicesFit) {
  std::string many = "s0=/m";
  for (int i = 1; i < 64; ++i) many += ",s" + std::to_string(i) + "=/m";
  EXPECT_EQ(complaint(load({.flags = {"--services=" + many}})), "");
  EXPECT_THAT(complaint(load({.flags = {"--services=" + many + ",s64=/m"}})),
              HasSubstr("at most 64"));
}

// Each row: a flag, and what the complaint says besides the option's name and the value.
TEST(Config, WrongValuesAreRefusedWithTheirBoundsAndUnit) {
  const std::pair<std::string, std::string> wrong[] = {
      {"transport.slots=0", "is out of bounds; give 1 to 256 requests"},
      {"transport.slots=257", "is out of bounds; give 1 to 256 requests"},
      {"transport.slots=-1", "is out of bounds; give 1 to 256 requests"},
      {"transport.slots=64x", "is no whole number; give 1 to 256 requests"},
      {"transport.slots=6.4", "is no whole number"},
      {"transport.slots= 64", "is no whole number"},
      {"transport.slots=auto", "is no whole number"},
      {"transport.slots=64KiB", "is no whole number"},
      {"transport.slots=99999999999999999999", "is no whole number"},
      {"transport.spin_us=1001", "give auto, or 0 to 1000 us"},
      {"transport.spin_us=-2", "give auto, or 0 to 1000 us"},
      {"transport.request_arena_bytes=1", "give 64 KiB to 1 GiB (a number of bytes, or one with"},
      {"transport.request_arena_bytes=2MB", "is no whole number"},
      {"transport.request_arena_bytes=9999999999GiB", "is no whole number"},
      {"transport.allow_uids=root", "\"root\", which is no numeric id"},
      {"transport.allow_uids=1,4294967295", "is no numeric id"},
      {"transport.allow_uids=-1", "is no numeric id"},
      {"kernels.threads=1025", "give auto, or 1 to 1024 threads"},
      {"kernels.backend=CPU!", "is no backend's name"},
      {"log.level=verbose", "is not one of debug, info, warn, error"},
      {"socket=/run/x/", "names a directory"},
      {"socket=/" + std::string(107, 'x'), "has 108 bytes; a path here has at most 107"},
      {"models=/a\x1b[2J", "control characters"},
      {"metrics.listen=localhost:9464", "is not an IP address with a port"},
      {"metrics.listen=:9464", "give one like 127.0.0.1:9464"},
      {"metrics.reach=everywhere", "loopback"},
  };
  for (const auto& [flag, reason] : wrong) {
    const std::string name = flag.substr(0, flag.find('='));
    EXPECT_THAT(complaint(load_served({.flags = {"--" + flag}})),
                AllOf(StartsWith(name + " = "), HasSubstr("(--" + name + ")"), HasSubstr(reason),
                      Not(HasSubstr("\x1b"))))
        << flag;
  }
}

TEST(Config, RightValuesAreTakenInTheirOtherSpellings) {
  const auto loaded =
      load_served({.flags = {"--transport.spin_us=auto", "--transport.slots", "256",
                             "--kernels.threads=0", "--transport.request_arena_bytes=3MiB",
                             "--transport.allow_uids=1000,33", "--log.level=warn",
                             "--socket=/" + std::string(106, 'x'), "--kernels.backend=cpu/avx2"}});
  ASSERT_TRUE(loaded) << complaint(loaded);
  EXPECT_EQ(loaded->config.transport.spin_us, -1);
  EXPECT_EQ(option(*loaded, "transport.spin_us").value, "auto");
  EXPECT_EQ(loaded->config.transport.slots, 256U);
  EXPECT_EQ(loaded->config.transport.request_arena_bytes, 3ULL << 20);
  EXPECT_EQ(option(*loaded, "transport.request_arena_bytes").value, "3MiB");
  EXPECT_EQ(option(*loaded, "kernels.threads").value, "auto");
  EXPECT_EQ(loaded->config.transport.allow_uids, (std::vector<std::uint32_t>{1000, 33}));
  EXPECT_EQ(loaded->config.log.level, base::LogLevel::kWarn);
  EXPECT_EQ(loaded->config.kernels.backend, "cpu/avx2");
}

TEST(Config, OptionsThatContradictEachOtherAreNamedBoth) {
  EXPECT_THAT(complaint(load_served({.flags = {"--metrics.listen=0.0.0.0:9464"}})),
              AllOf(HasSubstr("metrics.listen"), HasSubstr("metrics.reach")));
  EXPECT_EQ(
      complaint(load_served({.flags = {"--metrics.listen=0.0.0.0:9464", "--metrics.reach=any"}})),
      "");
  EXPECT_THAT(complaint(load_served({.flags = {"--socket=/s", "--control.socket=/s"}})),
              AllOf(HasSubstr("control.socket"), HasSubstr("option socket")));
  EXPECT_THAT(
      complaint(load_served({.flags = {"--limits.text_bytes_max=4MiB"}})),
      AllOf(HasSubstr("limits.text_bytes_max"), HasSubstr("transport.request_arena_bytes")));
}

TEST(Config, UnknownFlagsGetTheClosestName) {
  const std::pair<std::string, std::string> wrong[] = {
      {"--sokcet=/s", "did you mean \"--socket\"?"},
      {"--slots=3", "did you mean \"--transport.slots\"?"},
      {"--transport.slot=3", "did you mean \"--transport.slots\"?"},
      {"--hepl", "did you mean \"--help\"?"},
      {"--completely-different", "see nacelled --help"},
      {"--" + std::string(5000, 'x'), "see nacelled --help"},
      {"--sock=/s", "unknown flag \"--sock\""},
      {"stray", "\"stray\" is no flag"},
      {"-x", "unknown flag \"-x\""},
  };
  for (const auto& [flag, reason] : wrong) {
    EXPECT_THAT(complaint(load_served({.flags = {flag}})), HasSubstr(reason)) << flag;
  }
}

TEST(Config, AFlagGivenTwiceOrWithoutValueIsAnError) {
  EXPECT_THAT(complaint(load_served({.flags = {"--socket=/a", "--socket=/b"}})),
              HasSubstr("given twice"));
  EXPECT_THAT(complaint(load_served({.flags = {"--socket"}})), HasSubstr("--socket"));
  EXPECT_THAT(complaint(load_served({.flags = {"--socket="}})), HasSubstr("--socket"));
}

TEST(Config, UnknownVariablesAreErrorsAndForeignOnesAreNot) {
  EXPECT_THAT(complaint(load_served({.environment = {"NACELLE_SOKCET=/s"}})),
              AllOf(HasSubstr("NACELLE_SOKCET"), HasSubstr("did you mean \"NACELLE_SOCKET\"?")));
  EXPECT_THAT(complaint(load_served({.environment = {"NACELLE_=1"}})), HasSubstr("\"NACELLE_\""));
  EXPECT_THAT(complaint(load_served({.environment = {"NACELLE_" + std::string(5000, 'X') + "=1"}})),
              HasSubstr("unknown environment variable"));
  for (const std::string typo : {"NACELLE_PORT_TCP", "NACELLE_PORT_8x_TCP", "NACELLE_80_TCP",
                                 "NACELLE_SERVICE_HOSTS", "NACELLE_TCP", "NACELLE_PORTS"}) {
    EXPECT_THAT(complaint(load_served({.environment = {typo + "=1"}})), HasSubstr(typo));
  }
  // What Kubernetes sets for a Service called "nacelle", and what is none of ours.
  const auto loaded = load_served(
      {.environment = {"NACELLE_SERVICE_HOST=10.0.0.1", "NACELLE_SERVICE_PORT=80",
                       "NACELLE_SERVICE_PORT_HTTP=80", "NACELLE_PORT=tcp://10.0.0.1:80",
                       "NACELLE_PORT_80_TCP=tcp://10.0.0.1:80", "NACELLE_PORT_80_TCP_PORT=80",
                       "NACELLE_PORT_80_UDP_PROTO=udp", "NACELLE_PORT_80_TCP_ADDR=10.0.0.1",
                       "NACELLE_GATEWAY_SERVICE_HOST=10.0.0.1", "NACELLE_ASSETS=/x", "PATH=/bin",
                       "NOVALUE", "", "NACELLE_SOCKET="}});
  ASSERT_TRUE(loaded) << complaint(loaded);
  EXPECT_EQ(option(*loaded, "socket").source, "default") << "an empty variable is not set";
}

TEST(Config, TheVariablesOfTheDesignFallOut) {
  const auto loaded = load_served(
      {.environment = {"NACELLE_SOCKET=/s", "NACELLE_MODELS=/m", "NACELLE_CONTROL_SOCKET=/c"}});
  ASSERT_TRUE(loaded) << complaint(loaded);
  EXPECT_EQ(loaded->config.socket, "/s");
  EXPECT_EQ(loaded->config.models, "/m");
  EXPECT_EQ(loaded->config.control.socket, "/c");
}

TEST(Config, AllProblemsAreToldAtOnce) {
  const auto loaded = load({.flags = {"--transport.slots=0", "--sokcet=/s"},
                            .environment = {"NACELLE_LOG_LEVEL=loud"},
                            .yaml = "servces: {}\n"});
  EXPECT_THAT(complaint(loaded),
              AllOf(StartsWith("4 problems"), HasSubstr("transport.slots"), HasSubstr("--sokcet"),
                    HasSubstr("log.level"), HasSubstr("did you mean \"services\"?")));
}

TEST(Config, ManyProblemsAreCountedAndOnlySomeTold) {
  std::string yaml;
  for (int i = 0; i < 500; ++i) yaml += "unknown" + std::to_string(i) + ": 1\n";
  EXPECT_THAT(complaint(load_served({.yaml = yaml})),
              AllOf(StartsWith("500 problems"), HasSubstr("(and 480 more)"),
                    HasSubstr("\"unknown19\""), Not(HasSubstr("\"unknown20\""))));
}

TEST(Config, ALaterStageCanRefuseAValueInTheSameWords) {
  const auto loaded = load_served({.flags = {"--kernels.backend=cpu/abacus"}});
  ASSERT_TRUE(loaded) << complaint(loaded);
  EXPECT_EQ(loaded->refuse("kernels.backend", "is not here").message,
            "kernels.backend = \"cpu/abacus\" (--kernels.backend) is not here");
}

TEST(Config, HelpAndVersionWorkWhateverTheRestSays) {
  const auto help = load({.flags = {"--help"}, .environment = {"NACELLE_TYPO=1"}});
  ASSERT_TRUE(help) << complaint(help);
  ASSERT_TRUE(help->print);
  for (const Option& o : help->options) {
    EXPECT_THAT(*help->print, HasSubstr(o.flag + "=")) << o.name;
  }
  const auto version = load({.flags = {"--version"}});
  ASSERT_TRUE(version) << complaint(version);
  EXPECT_EQ(version->print, "nacelled " + std::string(sidecar::version()) + "\n");
}

TEST(Config, ExplainChecksAndShowsEveryValueWithItsSource) {
  const auto good = load_served({.flags = {"--explain", "--transport.slots=3"}});
  ASSERT_TRUE(good) << complaint(good);
  ASSERT_TRUE(good->print);
  EXPECT_THAT(*good->print, ContainsRegex("transport.slots +3 +--transport.slots\n"));
  EXPECT_THAT(*good->print, ContainsRegex("log.level +info +default\n"));
  EXPECT_FALSE(load_served({.flags = {"--explain", "--transport.slots=0"}}));
}

TEST(Config, EveryOptionIsDocumentedAndItsNamesAreItsOwn) {
  const auto loaded = load_served({});
  ASSERT_TRUE(loaded) << complaint(loaded);
  std::set<std::string> variables;
  for (const Option& o : loaded->options) {
    EXPECT_THAT(o.help, EndsWith(".")) << o.name;
    EXPECT_THAT(o.type, Not(IsEmpty())) << o.name;
    EXPECT_LE(o.environment.size(), base::kSuggestWordMax) << o.name << ": out of suggest's reach";
    EXPECT_FALSE(config::foreign(o.environment)) << o.environment << " is set by Kubernetes";
    EXPECT_TRUE(variables.insert(o.environment).second) << o.environment << " means two options";
  }
}

TEST(Config, OptionsMdIsCurrent) {
  const auto loaded = load({.flags = {"--print-options-markdown"}});
  ASSERT_TRUE(loaded) << complaint(loaded);
  std::ostringstream file;
  file << std::ifstream(NACELLE_SOURCE_DIR "/docs/OPTIONS.md").rdbuf();
  EXPECT_EQ(file.str(), *loaded->print)
      << "write it again: nacelled --print-options-markdown > docs/OPTIONS.md";
}

TEST(Suggest, FindsSlipsAndLeavesOtherWordsAlone) {
  const std::vector<std::string> names = {"socket", "models", "transport.slots"};
  EXPECT_EQ(base::suggest("socket", names), "socket");
  EXPECT_EQ(base::suggest("scoket", names), "socket");
  EXPECT_EQ(base::suggest("sockets", names), "socket");
  EXPECT_EQ(base::suggest("model", names), "models");
  EXPECT_EQ(base::suggest("slots", names), "transport.slots");
  EXPECT_EQ(base::suggest("", names), std::nullopt);
  EXPECT_EQ(base::suggest("kubernetes", names), std::nullopt);
  EXPECT_EQ(base::suggest(std::string(100'000, 's'), names), std::nullopt);
}

TEST(Suggest, CountsSwapsOfNeighboursOnce) {
  EXPECT_EQ(base::edit_distance("", ""), 0U);
  EXPECT_EQ(base::edit_distance("abc", ""), 3U);
  EXPECT_EQ(base::edit_distance("", "abc"), 3U);
  EXPECT_EQ(base::edit_distance("abcd", "abdc"), 1U);
  EXPECT_EQ(base::edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(base::edit_distance(std::string(64, 'a'), std::string(64, 'b')), 64U);
}

}  // namespace
}  // namespace nacelle::sidecar
