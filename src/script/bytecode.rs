//! `ccf.refreshAppBytecodeCache`: every module of the JavaScript application must compile, with what it imports.
//!
//! The bytecode itself is thrown away: it is of this engine and no other, and a node that runs applications compiles them.

use std::collections::BTreeMap;
use std::rc::Rc;

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Context, Ctx, Error, Module};

use super::host::Host;

/// Source texts by name, such as `/src/app.js`.
pub(super) type Modules = Rc<BTreeMap<String, Vec<u8>>>;

/// Compiles every module, in what is left of the caller's time and with its limits.
///
/// # Errors
/// The first that does not compile, in CCF's words.
pub(super) fn compile(host: &Host, modules: &Modules) -> Result<(), String> {
    let started = |why: Error| format!("the interpreter could not be started: {why}");
    let runtime = host.clock.runtime(host.limits).map_err(started)?;
    runtime.set_loader(Names, Sources(Rc::clone(modules)));
    let context = Context::full(&runtime).map_err(started)?;
    context.with(|ctx| {
        for (name, source) in modules.iter() {
            if Module::declare(ctx.clone(), name.as_str(), source.as_slice()).is_err() {
                // What was thrown must not be taken for something that happens later.
                drop(ctx.catch());
                return Err(format!("Unable to serialize bytecode for JS module '{name}'"));
            }
        }
        Ok(())
    })
}

/// What an import means: a path beside the importing module, or a module's name.
struct Names;

impl Resolver for Names {
    fn resolve<'js>(
        &mut self,
        _: &Ctx<'js>,
        base: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        Ok(resolved(base, name))
    }
}

fn resolved(base: &str, name: &str) -> String {
    if !name.starts_with('.') {
        return name.to_owned();
    }
    let mut path: Vec<&str> = base.split('/').collect();
    path.pop();
    for part in name.split('/') {
        match part {
            "." => {}
            ".." => drop(path.pop()),
            part => path.push(part),
        }
    }
    path.join("/")
}

/// The modules of the application, under their names with or without the slash at the beginning.
struct Sources(Modules);

impl Loader for Sources {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        let source = self.0.get(name).or_else(|| self.0.get(&format!("/{name}")));
        let source = source.ok_or_else(|| Error::new_loading(name))?;
        Module::declare(ctx.clone(), name, source.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::resolved;

    #[test]
    fn imports_are_relative_to_the_module_that_has_them() {
        for (base, name, expected) in [
            ("/src/app.js", "./lib.js", "/src/lib.js"),
            ("/src/app.js", "../lib/a.js", "/lib/a.js"),
            ("/app.js", "./a.js", "/a.js"),
            ("/src/app.js", "/lib.js", "/lib.js"),
            ("/src/app.js", "lib.js", "lib.js"),
        ] {
            assert_eq!(resolved(base, name), expected, "{base} {name}");
        }
    }
}
