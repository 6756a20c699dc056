#include "twin/json.h"

#include <cstdlib>

#include "core/error.h"

namespace residual::twin {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw core::Error(core::ErrorCode::kInternal, "twin: cuDNN's JSON: " + what);
}

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Json document() {
    Json value = parse();
    skip();
    if (at_ != text_.size()) fail("unexpected text after the end");
    return value;
  }

 private:
  void skip() {
    while (at_ < text_.size() && std::string(" \t\r\n").find(text_[at_]) != std::string::npos) at_++;
  }
  char peek() {
    skip();
    if (at_ == text_.size()) fail("it ends early");
    return text_[at_];
  }
  void expect(char c) {
    if (peek() != c) fail(std::string("expected ") + c + " at " + std::to_string(at_));
    at_++;
  }
  bool take(const std::string& word) {
    if (text_.compare(at_, word.size(), word) != 0) return false;
    at_ += word.size();
    return true;
  }

  // What cuDNN writes has no escapes but of quotes and backslashes.
  std::string string() {
    expect('"');
    std::string result;
    for (; at_ < text_.size() && text_[at_] != '"'; at_++) {
      if (text_[at_] == '\\' && ++at_ == text_.size()) break;
      result += text_[at_];
    }
    expect('"');
    return result;
  }

  Json parse() {
    Json value;
    const char c = peek();
    if (c == '{') {
      value.kind = Json::Kind::kObject;
      at_++;
      if (peek() != '}') {
        do {
          std::string name = string();
          expect(':');
          value.object[std::move(name)] = parse();
        } while (more('}'));
      }
      expect('}');
    } else if (c == '[') {
      value.kind = Json::Kind::kArray;
      at_++;
      if (peek() != ']') {
        do value.array.push_back(parse());
        while (more(']'));
      }
      expect(']');
    } else if (c == '"') {
      value.kind = Json::Kind::kString;
      value.string = string();
    } else if (take("true") || take("false")) {
      value.kind = Json::Kind::kBoolean;
      value.boolean = text_[at_ - 2] == 'u';
    } else if (!take("null")) {
      const char* begin = text_.c_str() + at_;
      char* end = nullptr;
      value.kind = Json::Kind::kNumber;
      value.number = std::strtod(begin, &end);
      if (end == begin) fail("unexpected text at " + std::to_string(at_));
      at_ += end - begin;
    }
    return value;
  }

  bool more(char end) {
    if (peek() == end) return false;
    expect(',');
    return true;
  }

  const std::string& text_;
  size_t at_ = 0;
};

}  // namespace

Json Json::parse(const std::string& text) { return Parser(text).document(); }

const Json& Json::at(const std::string& name) const {
  const auto found = object.find(name);
  if (found == object.end()) fail("there is no member '" + name + "'");
  return found->second;
}

int64_t Json::integer() const {
  if (kind != Kind::kNumber) fail("expected a number");
  return static_cast<int64_t>(number);
}

const std::string& Json::text() const {
  if (kind != Kind::kString) fail("expected a string");
  return string;
}

std::vector<int64_t> Json::integers() const {
  if (kind != Kind::kArray) fail("expected an array");
  std::vector<int64_t> result;
  for (const Json& element : array) result.push_back(element.integer());
  return result;
}

}  // namespace residual::twin
