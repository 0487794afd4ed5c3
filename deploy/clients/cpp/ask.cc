// Asks a mesh one question: the answer on standard output as it comes, receipt or error on standard error.
// See README.md for the options and what is read from the environment.

#include <getopt.h>

#include <cstdlib>
#include <iostream>

#include "tokenway.h"

namespace {

struct Options {
  std::string model;  // empty: the mesh chooses
  std::string ca_file;
  std::uint32_t max_tokens = 512;
  double timeout_seconds = 60;
  long stop_after = -1;
  std::string question;
};

Options Parse(int argc, char** argv) {
  const option known[] = {{"model", required_argument, nullptr, 'm'},      {"ca", required_argument, nullptr, 'c'},
                          {"max-tokens", required_argument, nullptr, 'n'}, {"timeout", required_argument, nullptr, 't'},
                          {"stop-after", required_argument, nullptr, 's'}, {}};
  Options options;
  for (int found; (found = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
    switch (found) {
      case 'm': options.model = optarg; break;
      case 'c': options.ca_file = optarg; break;
      case 'n': options.max_tokens = std::stoul(optarg); break;
      case 't': options.timeout_seconds = std::stod(optarg); break;
      case 's': options.stop_after = std::stol(optarg); break;
      default: std::exit(2);
    }
  }
  while (optind < argc) options.question += std::string(options.question.empty() ? "" : " ") + argv[optind++];
  return options;
}

std::string Environment(const char* name, const char* otherwise = "") {
  const char* value = std::getenv(name);
  return value ? value : otherwise;
}

void Print(const tokenway::router::v1::Finished& finished) {
  const auto& receipt = finished.receipt();
  std::cerr << "\n" << receipt.model() << ": " << receipt.usage().input_tokens() << " + "
            << receipt.usage().output_tokens() << " tokens, " << receipt.cost_micro_usd() << " micro-dollars, "
            << tokenway::common::v1::FinishReason_Name(finished.finish_reason()) << ", request "
            << receipt.request_id() << "\n";
}

void Print(const tokenway::Error& error) {
  std::cerr << "\n" << error.reason << ": " << error.what() << "\n";
  for (const auto& [field, description] : error.fields) std::cerr << "  " << field << ": " << description << "\n";
  for (const auto& [subject, description] : error.quotas) std::cerr << "  " << subject << ": " << description << "\n";
  if (error.retry_after) std::cerr << "  try again in " << error.retry_after->count() << " s\n";
  if (error.receipt) std::cerr << "  billed: " << error.receipt->cost_micro_usd() << " micro-dollars\n";
  if (!error.request_id.empty()) std::cerr << "  request " << error.request_id << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  const auto timeout = std::chrono::duration<double>(options.timeout_seconds);
  tokenway::Mesh mesh(Environment("TOKENWAY_ROUTER", "127.0.0.1:50051"), Environment("TOKENWAY_API_KEY"),
                      options.ca_file);

  tokenway::router::v1::GenerateRequest question;
  question.set_model(options.model);
  auto* message = question.mutable_conversation()->add_messages();
  message->set_role(tokenway::common::v1::ROLE_USER);
  message->add_parts()->set_text(options.question);
  question.mutable_sampling()->set_temperature(0);
  question.mutable_sampling()->set_max_tokens(options.max_tokens);
  try {
    auto answer = mesh.Stream(question, timeout, Environment("TRACEPARENT"));
    long deltas = 0;
    for (tokenway::router::v1::StreamGenerateResponse event; answer.Next(event);) {
      for (const auto& text : event.delta().text()) std::cout << text << std::flush;
      if (event.has_finished()) Print(event.finished());
      if (event.has_delta() && ++deltas == options.stop_after) break;  // cancels: the engine stops; what came is billed
    }
  } catch (const tokenway::Error& error) {
    Print(error);  // which rule or limit, what to do, when to try again
    return 1;
  }
}
