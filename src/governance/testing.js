// A constitution for tests. A proposal is {"do": name, ...}; more than half of the active members decide, and a
// proposal that names a "veto" is rejected as soon as that member votes against it.
const key = new ArrayBuffer(8);

export function validate(input) {
  const proposal = JSON.parse(input);
  if (proposal.do === undefined) {
    return { valid: false, description: "there is nothing to do" };
  }
  if (proposal.do === "fail to validate") {
    throw new Error("validation is out of order");
  }
  return { valid: true, description: "" };
}

export function resolve(text, proposerId, votes, proposalId) {
  const proposal = JSON.parse(text);
  if (proposal.at_once !== undefined) {
    return proposal.at_once;
  }
  if (votes.some((vote) => !vote.vote && vote.member_id === proposal.veto)) {
    return "Rejected";
  }
  let active = 0;
  ccf.kv["public:ccf.gov.members.info"].forEach((value) => {
    active += ccf.bufToJsonCompatible(value).status === "Active" ? 1 : 0;
  });
  return votes.filter((vote) => vote.vote).length > active / 2 ? "Accepted" : "Open";
}

export function apply(text, proposalId) {
  const proposal = JSON.parse(text);
  ccf.kv["public:ccf.gov.done"].set(key, ccf.jsonCompatibleToBuf(proposal.do));
  if (proposal.do === "fail") {
    throw new Error("it can't be done");
  }
  if (proposal.do === "open") {
    ccf.node.transitionServiceToOpen(undefined, ccf.strToBuf("next"));
  }
}
