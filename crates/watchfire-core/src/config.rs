//! Configurations: one shape for all, and one error for those that cannot be.

use core::fmt;

/// Why a configuration cannot be: what `build()` of every builder says. All values come from the application, so this
/// is never a peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigError {
    field: &'static str,
    problem: &'static str,
}

impl ConfigError {
    /// `field` is the name in the configuration, `problem` what it must be: it stands behind the name.
    pub const fn new(field: &'static str, problem: &'static str) -> Self {
        Self { field, problem }
    }

    /// Which setting.
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// What it must be.
    pub const fn problem(&self) -> &'static str {
        self.problem
    }

    /// `Err` unless `good`.
    ///
    /// # Errors
    /// With these words.
    pub const fn unless(good: bool, field: &'static str, problem: &'static str) -> Result<(), Self> {
        if good { Ok(()) } else { Err(Self::new(field, problem)) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.problem)
    }
}

impl core::error::Error for ConfigError {}

/// Setters by value, `with_*`, for public fields of a type. They are `const`, and so for values that need no clean-up.
///
/// ```
/// #[derive(Debug, Clone, Copy)]
/// pub struct Limits { pub message: usize }
///
/// watchfire_core::setters! { Limits {
///     with_message => message: usize,
/// } }
///
/// assert_eq!((Limits { message: 1 }).with_message(4096).message, 4096);
/// ```
#[macro_export]
macro_rules! setters {
    ($Type:ident { $($with:ident => $field:ident: $Value:ty),* $(,)? }) => {
        impl $Type {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub const fn $with(mut self, $field: $Value) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

/// The builder of a configuration with public fields: setters by value, `with_*`, and a `build()` that checks.
///
/// The configuration has a private method `check`, and starts its builder itself, because what it cannot do without
/// is an argument there.
///
/// ```
/// use watchfire_core::ConfigError;
///
/// #[derive(Debug, Clone)]
/// #[non_exhaustive]
/// pub struct ClientConfig { pub name: String, pub tries: u8 }
///
/// impl ClientConfig {
///     pub fn builder(name: impl Into<String>) -> ClientConfigBuilder {
///         ClientConfigBuilder(Self { name: name.into(), tries: 3 })
///     }
///
///     fn check(&self) -> Result<(), ConfigError> {
///         ConfigError::unless(self.tries > 0, "tries", "must be at least 1")
///     }
/// }
///
/// watchfire_core::config_builder! {
///     /// What becomes a [`ClientConfig`].
///     pub struct ClientConfigBuilder for ClientConfig {
///         with_tries => tries: u8,
///     }
/// }
///
/// assert_eq!(ClientConfig::builder("x").with_tries(5).build().unwrap().tries, 5);
/// let none = ClientConfig::builder("x").with_tries(0).build().unwrap_err();
/// assert_eq!(none.to_string(), "tries must be at least 1");
/// ```
#[macro_export]
macro_rules! config_builder {
    (
        $(#[$meta:meta])*
        pub struct $Builder:ident for $Config:ident { $($with:ident => $field:ident: $Value:ty),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $Builder($Config);

        impl $Builder {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](", stringify!($Config), "::", stringify!($field), ").")]
                #[must_use]
                pub fn $with(mut self, $field: $Value) -> Self {
                    self.0.$field = $field;
                    self
                }
            )*

            /// What was set so far, not checked yet.
            pub fn so_far(&self) -> &$Config {
                &self.0
            }

            /// The configuration.
            ///
            /// # Errors
            /// When a value cannot be, or two do not go together.
            pub fn build(self) -> ::core::result::Result<$Config, $crate::ConfigError> {
                self.0.check()?;
                Ok(self.0)
            }
        }

        impl $Config {
            /// The same, to be changed.
            pub fn into_builder(self) -> $Builder {
                $Builder(self)
            }
        }
    };
}
