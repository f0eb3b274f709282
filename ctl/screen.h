// A terminal that is drawn on as a whole, and given back as it was, whatever ends the program short
// of SIGKILL: keys come unechoed, one at a time, and signals are read like keys.
#pragma once

#include <termios.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sidecar/base/fd.h"
#include "sidecar/base/time.h"

namespace nacelle::ctl {

class Screen {
 public:
  // Nothing when standard input or output is no terminal.
  static std::optional<Screen> open();
  ~Screen();
  Screen(Screen&& other) noexcept;
  Screen& operator=(Screen&&) = delete;
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  struct Size {
    std::size_t columns = 80;
    std::size_t rows = 24;
  };
  [[nodiscard]] static Size size();
  // Shows these lines, which fit, and nothing else.
  static void draw(const std::vector<std::string>& lines);

  enum class Event { kTimeout, kResized, kQuit };
  // Waits for a key that quits (q, Escape alone, Ctrl-C, the end of input), a signal that does, a
  // new size, or `until`.
  [[nodiscard]] Event wait(base::Nanos until) const;

 private:
  Screen(const termios& before, base::Fd signals) : before_(before), signals_(std::move(signals)) {}
  termios before_;
  base::Fd signals_;
  bool owner_ = true;
};

}  // namespace nacelle::ctl
