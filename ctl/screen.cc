#include "ctl/screen.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

namespace nacelle::ctl {
namespace {

constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l";  // the other screen, no cursor
constexpr std::string_view kLeave = "\x1b[?25h\x1b[?1049l";
constexpr std::string_view kHome = "\x1b[H";
constexpr std::string_view kClearLine = "\x1b[K";
constexpr std::string_view kClearRest = "\x1b[J";
constexpr char kEscape = '\x1b';
constexpr char kInterrupt = '\x03';  // Ctrl-C

void put(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(STDOUT_FILENO, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // the terminal is gone: its hang-up ends the program
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

sigset_t read_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&signals, signal);
  return signals;
}

}  // namespace

std::optional<Screen> Screen::open() {
  termios before{};
  if (::isatty(STDOUT_FILENO) == 0 || ::tcgetattr(STDIN_FILENO, &before) != 0) return std::nullopt;
  const sigset_t signals = read_signals();
  base::Fd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return std::nullopt;
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  termios raw = before;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  put(kEnter);
  return Screen(before, std::move(fd));
}

Screen::Screen(Screen&& other) noexcept
    : before_(other.before_),
      signals_(std::move(other.signals_)),
      owner_(std::exchange(other.owner_, false)) {}

Screen::~Screen() {
  if (!owner_) return;
  put(kLeave);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  // What is still pending was for the screen.
  signalfd_siginfo pending{};
  while (::read(signals_.get(), &pending, sizeof pending) > 0) {
  }
  const sigset_t signals = read_signals();
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

Screen::Size Screen::size() {
  winsize window{};
  Size size;
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 && window.ws_row > 0) {
    size.columns = window.ws_col;
    size.rows = window.ws_row;
  }
  return size;
}

void Screen::draw(const std::vector<std::string>& lines) {
  std::string frame(kHome);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    frame += lines[i];
    frame += kClearLine;
    if (i + 1 < lines.size()) frame += "\r\n";
  }
  put(frame + std::string(kClearRest));
}

Screen::Event Screen::wait(base::Nanos until) const {
  while (true) {
    const base::Nanos left = until - base::now_ns();
    if (left <= 0) return Event::kTimeout;
    constexpr base::Nanos kWaitMax = 3'600 * base::kSecond;
    const auto milliseconds = static_cast<int>(std::min(left, kWaitMax) / base::kMillisecond + 1);
    pollfd polled[] = {{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0},
                       {.fd = signals_.get(), .events = POLLIN, .revents = 0}};
    if (::poll(polled, 2, milliseconds) < 0 && errno != EINTR) return Event::kQuit;
    if (polled[1].revents != 0) {
      signalfd_siginfo signal{};
      bool resized = false;
      while (::read(signals_.get(), &signal, sizeof signal) == sizeof signal) {
        if (signal.ssi_signo != SIGWINCH) return Event::kQuit;
        resized = true;
      }
      if (resized) return Event::kResized;
    }
    if (polled[0].revents != 0) {
      char keys[64];
      const ssize_t count = ::read(STDIN_FILENO, keys, sizeof keys);
      if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return Event::kQuit;
      // Escape alone is a key; with more behind it, it begins a function key.
      if (count == 1 && keys[0] == kEscape) return Event::kQuit;
      for (ssize_t i = 0; i < count && keys[0] != kEscape; ++i) {
        if (keys[i] == 'q' || keys[i] == 'Q' || keys[i] == kInterrupt) return Event::kQuit;
      }
    }
  }
}

}  // namespace nacelle::ctl
