//! A bot that throws dice and tells the weather in a channel of a running server, and says of itself that it does.
//!
//! `cargo run -p weltenwind-examples --bin bot -- http://127.0.0.1:8080 welcome/general`, then say `!roll 2d6` or `!wind`.
//! Stop the server and start it again: what was said to the bot meanwhile is answered, once.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the terminal is this bot's diary")]

use std::error::Error;

use weltenwind_client::{Client, Draft, Event, Realtime, Room};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let place = args.next().unwrap_or_else(|| "welcome/general".to_owned());
    let (world, channel) = place.split_once('/').ok_or("name the channel as world/channel")?;

    let client = Client::builder(&address).user_agent("windbot/1.0").build()?;
    let me = client.guest("Windbot").await?;
    let channel = client.find_channel(world, channel).await?.ok_or("there is no such channel")?;
    let mut realtime = Realtime::connect(&client).await?;
    realtime.join(Room::Channel(channel.id), None).await?;
    // Said once; the client says it again after every reconnect.
    let everybody = realtime.room(Room::Global);
    everybody.join(None).await?;
    everybody.say(Some("throws dice: !roll 2d6")).await?;
    println!("listening in {place} of {address}");

    while let Some(event) = realtime.next().await {
        match event {
            Event::Message { message, .. } if message.author.id != me.id => {
                let Some(answer) = message.body.as_deref().and_then(answer) else { continue };
                println!("{}: {answer}", message.author.display_name);
                if let Err(error) = realtime.typing(Room::Channel(channel.id)).await {
                    eprintln!("not told: {error}");
                }
                let reply = Draft::new(channel.id, answer).reply_to(message.id);
                if let Err(error) = realtime.publish_draft(reply).await {
                    eprintln!("not said: {error}");
                }
            }
            Event::Presence { count, .. } => println!("{count} are here"),
            Event::Disconnected { error, retry_in } => eprintln!("{error}; back in {retry_in:.1?}"),
            Event::Reconnected => println!("back again"),
            Event::Left { room: Room::Channel(_), code } => {
                return Err(format!("sent out of the channel: {code}").into());
            }
            Event::Closed { error } => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// What the bot says to a message, if it was spoken to.
fn answer(text: &str) -> Option<String> {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("!roll", dice) => {
            Some(roll(dice.trim()).unwrap_or_else(|| "I throw 1d6 to 20d100, say: !roll 2d6".to_owned()))
        }
        ("!wind", _) => {
            let (from, knots) =
                (["north", "east", "south", "west"][rand::random_range(0..4)], rand::random_range(2..40));
            Some(format!("{knots} knots from the {from}"))
        }
        _ => None,
    }
}

/// Throws dice: `2d6` is two with six sides each.
fn roll(dice: &str) -> Option<String> {
    let (count, sides) = dice.split_once('d')?;
    let (count, sides) = (count.parse::<u32>().ok()?, sides.parse::<u32>().ok()?);
    if !(1..=20).contains(&count) || !(2..=100).contains(&sides) {
        return None;
    }
    let thrown: Vec<u32> = (0..count).map(|_| rand::random_range(1..=sides)).collect();
    let shown: Vec<String> = thrown.iter().map(u32::to_string).collect();
    Some(format!("{dice}: {} = {}", shown.join(" + "), thrown.iter().sum::<u32>()))
}
