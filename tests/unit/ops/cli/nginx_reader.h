// What a test reads of nginx's configuration.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "ops/cli/nginx_config.h"
#include "shared/config/config.h"

namespace inferpool::ops::test {

// A directive with its words, and where it stands: "http/server/location /".
struct Directive {
  std::string place;
  std::vector<std::string> words;
};

// nginx's own rules: words are parted by blanks, quotes hold them together, '#' at a word's start
// begins a comment, ';' ends a directive, braces enclose blocks.
class Reader {
 public:
  explicit Reader(const std::string& text) : text_(text) {
    Block("");
    EXPECT_EQ(at_, text_.size()) << "a '}' too many";
  }

  const std::vector<Directive>& directives() const { return directives_; }

  // The words after the name of each directive `name` at `place`, joined by blanks.
  std::vector<std::string> All(const std::string& place, const std::string& name) const {
    std::vector<std::string> found;
    for (const Directive& directive : directives_) {
      if (directive.place != place || directive.words[0] != name) continue;
      std::string rest;
      for (std::size_t i = 1; i < directive.words.size(); ++i) {
        rest += (i == 1 ? "" : " ") + directive.words[i];
      }
      found.push_back(rest);
    }
    return found;
  }

  std::string One(const std::string& place, const std::string& name) const {
    const auto all = All(place, name);
    EXPECT_EQ(all.size(), 1U) << place << " " << name;
    return all.empty() ? "(none)" : all[0];
  }

 private:
  void Block(const std::string& place) {
    std::vector<std::string> words;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == ' ' || c == '\n' || c == '\t') {
        ++at_;
      } else if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == ';') {
        ++at_;
        EXPECT_FALSE(words.empty()) << "a ';' too many in " << place;
        if (!words.empty()) directives_.push_back({place, words});
        words.clear();
      } else if (c == '{') {
        ++at_;
        std::string name;
        for (const std::string& word : words) name += (name.empty() ? "" : " ") + word;
        Block(place.empty() ? name : place + "/" + name);
        words.clear();
      } else if (c == '}') {
        EXPECT_TRUE(words.empty()) << "no ';' before '}' in " << place;
        if (place.empty()) return;
        ++at_;
        return;
      } else {
        words.push_back(Word());
      }
    }
    EXPECT_TRUE(place.empty()) << "no '}' for " << place;
    EXPECT_TRUE(words.empty()) << "no ';' at the end";
  }

  std::string Word() {
    std::string word;
    const char quote = text_[at_];
    if (quote == '"' || quote == '\'') {
      for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
        if (text_[at_] == '\\' && at_ + 1 < text_.size()) word += text_[at_++];
        word += text_[at_];
      }
      ++at_;
      return word;
    }
    // "${name}" is no block.
    while (at_ < text_.size() && std::string(" \n\t;").find(text_[at_]) == std::string::npos) {
      if (text_[at_] == '{' && (word.empty() || word.back() != '$')) break;
      word += text_[at_++];
    }
    return word;
  }

  const std::string& text_;
  std::size_t at_ = 0;
  std::vector<Directive> directives_;
};

inline Config Example() {
  ConfigResult result = ParseConfig("{}", "/srv/pool", {});
  EXPECT_TRUE(result.problems.empty());
  return result.config;
}

inline NginxHost Host() {
  return {.user = "", .has_ipv6 = false, .descriptors = 20'000};
}

}  // namespace inferpool::ops::test
