() => {
  // gradio gives each radio button a name of its own, again whenever one is chosen; to the arrow keys only buttons of
  // one name are a group.
  const group = () => {
    for (const set of document.querySelectorAll("fieldset[id]")) {
      for (const button of set.querySelectorAll("input[type=radio]")) {
        if (button.name !== set.id) button.name = set.id;
      }
    }
  };
  const changes = { childList: true, subtree: true, attributes: true, attributeFilter: ["name"] };
  new MutationObserver(group).observe(document.body, changes);
  group();
}
